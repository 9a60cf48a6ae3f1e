//! The step itself, and the names of its outputs.

use super::{Inputs, Kept, LEARNER, kept};
use foil::attack::Batch;
use foil::engine::{Learner, Step};
use foil::loss::{Forward, ImageSet};
use foil::nn::{Gradients, Noise, key_of, name_key};
use foil::scheduler::Clock;
use foil::{Error, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Everything a step computed.
#[derive(Debug)]
pub struct Probed {
    /// Every tensor under its name in the file.
    pub tensors: Vec<(String, Tensor)>,
    /// Names of the draws that were made and not given.
    pub random: Vec<String>,
    /// The change of each parameter.
    pub updates: Vec<Update>,
}

/// The change of one parameter.
#[derive(Debug)]
pub struct Update {
    /// The parameter.
    pub name: String,
    /// The Euclidean norm of its gradient.
    pub gradient: f64,
    /// The largest change of one of its numbers.
    pub change: f64,
}

/// Runs `step` on `inputs` at the clock's time, and returns every number it computed.
///
/// What is random and not given is drawn as in the first epoch of a training run with the same seed
/// and image indices.
///
/// # Errors
/// What a plugin reports; and a draw that was given in another shape than the step draws it in, or
/// that it never draws.
pub fn probe(step: &mut Step, clock: &Clock, seed: u64, inputs: Inputs, iterates: bool) -> Result<Probed> {
    let Inputs { model, learner, networks, state, x, y, index, x_adv, draws } = inputs;
    step.model.network().params().load(&model)?;
    step.begin_averages();
    if let Some(own) = step.attack.learner() {
        own.network().params().load(&learner)?;
        own.keep_gradients();
    }
    for (name, values) in networks {
        step.networks.get(&name)?.network().params().load(&values)?;
    }
    step.networks.learners().for_each(|(_, learner)| learner.keep_gradients());
    for Kept { name, mut all, per_image } in kept(step) {
        match state.get(&name) {
            Some(rows) if per_image => drop(all.index_copy_(0, &index, &rows.to_kind(all.kind()))),
            Some(values) => all.copy_(values),
            None => {}
        }
    }
    let before = [Some(&step.model), step.attack.learner()].map(|learner| learner.map(values));
    let mut further: BTreeMap<String, _> =
        step.networks.learners().map(|(name, own)| (name.to_string(), values(own))).collect();

    let key = Tensor::from(key_of(&[seed, name_key("train"), 0])).to_device(x.device());
    let mut noise = Noise::new(&key, &index);
    let given: BTreeMap<String, Vec<i64>> = draws.iter().map(|(name, t)| (name.clone(), t.size())).collect();
    draws.into_iter().for_each(|(name, values)| noise.give(&name, values));
    let mut batch = Batch { x, y, index, noise, clock, clean_logits: None };
    let points = RefCell::new(Vec::new());
    let outcome = step.run_with(&mut batch, x_adv, iterates.then_some(&points));
    let drawn = batch.noise.drawn();
    // A draw of the wrong shape explains whatever error the step reported.
    let outcome = misgiven(&given, &drawn, outcome.is_ok()).map_or(outcome, Err)?;

    let mut out = Output::default();
    // An attack that trains on other images than the attacked ones provides a side tensor of this
    // name.
    out.add("x_adv", &outcome.adversarial.x);
    outcome.adversarial.images.iter().for_each(|(name, t)| out.add(&format!("images.{name}"), t));
    outcome.adversarial.side.iter().for_each(|(name, t)| out.add(name, t));
    points.into_inner().iter().enumerate().for_each(|(k, t)| out.add(&format!("iterate.{k}"), t));
    let one_clean = !outcome.logits.contains_key(&Forward::Clean);
    outcome.logits.iter().for_each(|(pass, t)| out.add(&format!("logits.{}", name_of(*pass, one_clean)), t));
    out.add("loss.total", &outcome.loss.total);
    outcome.loss.parts.iter().for_each(|(name, t)| out.add(&format!("loss.{name}"), t));
    let [model_before, learner_before] = before;
    out.learner("", &step.model, Some(&outcome.gradients), model_before);
    if let Some(own) = step.attack.learner() {
        out.learner(LEARNER, own, own.last_gradients(), learner_before);
    }
    for (name, own) in step.networks.learners() {
        out.learner(&format!("{name}."), own, own.last_gradients(), further.remove(name));
    }
    for (prefix, average) in step.averages.named() {
        let averaged = average.network().params().state_dict();
        averaged.iter().for_each(|(name, t)| out.add(&format!("{prefix}{name}"), t));
    }
    for Kept { name, all, per_image } in kept(step) {
        out.add(&name, &if per_image { all.index_select(0, &batch.index) } else { all });
    }
    let random = drawn.into_keys().filter(|name| !given.contains_key(name)).collect();
    Ok(Probed { tensors: out.tensors.into_iter().collect(), random, updates: out.updates })
}

/// Copies of a network's parameters and buffers.
fn values(learner: &Learner) -> BTreeMap<String, Tensor> {
    learner.network().params().state_dict().into_iter().map(|(name, t)| (name, t.copy())).collect()
}

/// The name of a pass in the file; `one_clean` if the loss asks for one clean pass alone before the
/// update.
fn name_of(pass: Forward, one_clean: bool) -> String {
    let name = match pass {
        Forward::Network(network, images) => {
            let images = match images {
                ImageSet::Clean => "clean",
                ImageSet::Adversarial => "adv",
                ImageSet::Both => "together",
                ImageSet::Named(name) => name,
            };
            return format!("{network}.{images}");
        }
        Forward::Images(name) => name,
        Forward::CleanFirst if one_clean => "clean",
        Forward::CleanFirst => "clean_first",
        Forward::Clean => "clean",
        Forward::Adversarial => "adv",
        Forward::CleanAgain => "clean_again",
        Forward::Together => "together",
        Forward::CleanAfterUpdate => "clean_after_update",
    };
    name.to_string()
}

/// The problem with the given draws, if any. After a step that failed, draws may be missing for
/// that reason.
fn misgiven(given: &BTreeMap<String, Vec<i64>>, drawn: &BTreeMap<String, Vec<i64>>, finished: bool) -> Option<Error> {
    let wrong: Vec<String> = given
        .iter()
        .filter_map(|(name, shape)| match drawn.get(name) {
            Some(wanted) if wanted == shape => None,
            Some(wanted) => Some(format!("`{name}` is {shape:?}; the step draws {wanted:?}")),
            None if finished => Some(format!("`{name}` is never drawn")),
            None => None,
        })
        .collect();
    let names: Vec<&str> = drawn.keys().map(String::as_str).collect();
    (!wrong.is_empty()).then(|| {
        let draws = if names.is_empty() { "nothing".to_string() } else { names.join(", ") };
        Error::new(format!("draws were given that do not fit the step\n  {}", wrong.join("\n  ")))
            .help(format!("this step draws {draws}"))
    })
}

#[derive(Default)]
struct Output {
    tensors: BTreeMap<String, Tensor>,
    updates: Vec<Update>,
}

impl Output {
    fn add(&mut self, name: &str, tensor: &Tensor) {
        self.tensors.insert(name.to_string(), tensor.detach().copy());
    }

    /// Gradients, values after the update, and what changed.
    fn learner(
        &mut self,
        prefix: &str,
        learner: &Learner,
        gradients: Option<&Gradients>,
        before: Option<BTreeMap<String, Tensor>>,
    ) {
        let params = learner.network().params();
        let after = values(learner);
        for (name, gradient) in gradients.map(|g| params.named_gradients(g)).unwrap_or_default() {
            self.add(&format!("{prefix}grad.{name}"), &gradient);
            let change = match (after.get(&name), before.as_ref().and_then(|before| before.get(&name))) {
                (Some(after), Some(before)) => (after - before).abs().max().double_value(&[]),
                _ => f64::NAN,
            };
            let gradient = gradient.square().sum(Kind::Double).sqrt().double_value(&[]);
            self.updates.push(Update { name: format!("{prefix}{name}"), gradient, change });
        }
        after.iter().for_each(|(name, t)| self.add(&format!("{prefix}after.{name}"), t));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foil::attack::{Adversarial, Attack, Learning, Target};
    use foil::engine::Network;
    use foil::loss::{Loss, LossInput, LossOutput, terms};
    use foil::model::Model;
    use foil::nn::{Builder, Linear, Mode, Pass, Span};
    use foil::optim::Optimizer;
    use foil::registry::DataFacts;
    use foil::scheduler::Progress;
    use foil::tensors;
    use std::collections::HashMap;
    use tch::Device;

    const DATA: DataFacts = DataFacts { channels: 1, height: 1, width: 2, classes: 2, train: 5 };

    struct Flat(Linear);

    impl Model for Flat {
        fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
            self.0.forward(pass, &xs.flatten(1, -1))
        }
    }

    /// Moves each image by its radius, which then doubles, and counts the images of each half: the
    /// bookkeeping of MMA without its mathematics.
    struct Radii {
        radius: Tensor,
        counts: Tensor,
    }

    impl Attack for Radii {
        fn perturb(&mut self, _: &Target, batch: &Batch) -> Result<Adversarial> {
            let radius = self.radius.index_select(0, &batch.index);
            let _ = self.radius.index_copy_(0, &batch.index, &(&radius * 2.0));
            let _ = self.counts.g_add_scalar_(batch.x.size()[0]);
            let moved = &batch.x + radius.view([-1, 1, 1, 1]) * batch.uniform("push");
            Ok(Adversarial::new(moved).with("weight", radius))
        }

        fn mode(&self) -> Mode {
            Mode::Eval
        }

        fn provides(&self) -> Vec<&'static str> {
            vec!["weight"]
        }

        fn learning(&self) -> Option<&dyn Learning> {
            Some(self)
        }

        fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
            Some(self)
        }
    }

    impl Learning for Radii {
        fn state(&self) -> Vec<(String, Tensor)> {
            vec![("radius".into(), self.radius.shallow_clone()), ("counts".into(), self.counts.shallow_clone())]
        }

        fn per_image(&self) -> Vec<String> {
            vec!["radius".into()]
        }
    }

    struct Ce;

    impl Loss for Ce {
        fn passes(&self) -> Vec<Forward> {
            vec![Forward::CleanFirst, Forward::Adversarial]
        }

        fn forward(&self, input: &LossInput) -> Result<LossOutput> {
            Ok(LossOutput::new(terms::cross_entropy(input.adversarial()?, input.y()).mean(None::<Kind>)))
        }
    }

    /// Gradient descent with a learning rate of 1.
    struct Descent;

    impl Optimizer for Descent {
        fn prepare(&mut self, _: &Tensor, _: &[Span]) {}

        fn update(&mut self, values: &Tensor, gradient: &Tensor, _: &Clock) {
            let _ = values.shallow_clone().g_sub_(gradient);
        }

        fn learning_rate(&self, _: &Progress) -> f64 {
            1.0
        }

        fn state(&self) -> Vec<(String, Tensor)> {
            Vec::new()
        }
    }

    fn step() -> Step {
        let builder = Builder::default();
        let model = Box::new(Flat(Linear::new(&builder, "fc", 2, 2)));
        let network = Network::new(model, builder, Some(0), Kind::Double, Device::Cpu);
        let radius = Tensor::full([DATA.train], 0.1, (Kind::Float, Device::Cpu));
        let attack = Radii { radius, counts: Tensor::zeros([3], (Kind::Int64, Device::Cpu)) };
        Step::new(Learner::new(network, Box::new(Descent)), Box::new(attack), Box::new(Ce), ["radii", "ce"])
    }

    fn doubles(values: &[f64], shape: &[i64]) -> Tensor {
        Tensor::from_slice(values).view(shape)
    }

    /// One step on files with two images and these tensors besides.
    fn run(more_weights: &[(&str, Tensor)], more_batch: &[(&str, Tensor)]) -> Result<Probed> {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, tensors: &[(&str, Tensor)], more: &[(&str, Tensor)]| {
            let all = tensors.iter().chain(more).map(|(name, t)| (name.to_string(), t.shallow_clone()));
            tensors::write(&folder.path().join(name), &all.collect::<Vec<_>>(), HashMap::new()).unwrap();
            folder.path().join(name)
        };
        let weights = [("fc.weight", doubles(&[1.0, 0.0, 0.0, 1.0], &[2, 2])), ("fc.bias", doubles(&[0.0, 0.0], &[2]))];
        let batch = [
            ("x", doubles(&[0.5, 0.25, 0.0, 1.0], &[2, 1, 1, 2])),
            ("y", Tensor::from_slice(&[0i64, 1])),
            ("index", Tensor::from_slice(&[4i64, 1])),
        ];
        let (w, b) = (file("w", &weights, more_weights), file("b", &batch, more_batch));
        let mut step = step();
        let inputs = Inputs::read(&step, &DATA, &w, &b)?;
        probe(&mut step, &Clock::new(1, 1, Device::Cpu), 0, inputs, false)
    }

    #[test]
    fn what_an_attack_keeps_goes_in_and_comes_out() {
        let push = ("noise.push", doubles(&[1.0, 0.0, 0.5, 0.0], &[2, 1, 1, 2]));
        let kept = [("radius", doubles(&[0.25, 0.5], &[2])), ("counts", Tensor::from_slice(&[7i64, 0, 1]))];
        let probed = run(&kept, &[push]).unwrap();
        let found = |name: &str| {
            let (_, t) = probed.tensors.iter().find(|(n, _)| n == name).unwrap();
            Vec::<f64>::try_from(t.to_kind(Kind::Double).contiguous().view(-1)).unwrap()
        };
        assert_eq!(found("x_adv"), [0.75, 0.25, 0.25, 1.0]);
        assert_eq!(found("weight"), [0.25, 0.5]);
        assert_eq!(found("radius"), [0.5, 1.0]);
        assert_eq!(found("counts"), [9.0, 2.0, 3.0]);
        // It is the only clean pass, though it ran before the attack.
        assert_eq!(found("logits.clean"), [0.5, 0.25, 0.0, 1.0]);
        let (gradient, after) = (found("grad.fc.bias"), found("after.fc.bias"));
        assert!(gradient.iter().zip(&after).all(|(g, a)| *a == -g), "{gradient:?} {after:?}");
        assert!(probed.random.is_empty(), "{:?}", probed.random);
        assert_eq!(probed.updates[1].name, "fc.bias");
    }

    // What is kept of the whole training set has one shape; it is not the batch's.
    #[test]
    fn what_an_attack_keeps_must_have_its_shape() {
        let error = run(&[("counts", doubles(&[1.0, 2.0], &[2]))], &[]).unwrap_err().to_string();
        assert!(error.contains("`counts` is [2]; it must be [3]"), "{error}");
    }

    #[test]
    fn what_was_not_given_is_random() {
        assert_eq!(run(&[], &[]).unwrap().random, ["push"]);
    }

    #[test]
    fn draws_that_do_not_fit_are_refused() {
        // One number per image would be broadcast over its pixels silently.
        let wrong = [("noise.push", doubles(&[0.5; 2], &[2, 1, 1, 1])), ("noise.pull", doubles(&[0.5; 2], &[2]))];
        let text = run(&[], &wrong).unwrap_err().to_string();
        assert!(text.contains("`push` is [2, 1, 1, 1]; the step draws [2, 1, 1, 2]"), "{text}");
        assert!(text.contains("`pull` is never drawn") && text.contains("help: this step draws push"), "{text}");
    }

    #[test]
    fn side_tensors_cannot_be_guessed_from_attacked_images() {
        let error = run(&[], &[("x_adv", doubles(&[0.5; 4], &[2, 1, 1, 2]))]).unwrap_err().to_string();
        assert!(error.contains("attack `radii`: its weight cannot be computed from attacked images"), "{error}");
    }
}
