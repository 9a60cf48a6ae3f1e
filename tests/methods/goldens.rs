//! Against PyTorch 2.11.0: values and gradients, in double precision to 1e-10 and in single
//! precision to 1e-5.
//!
//! The numbers are made by `tests/goldens/make.py`, which says how each was computed.

use foil::engine::Step;
use foil::nn::Noise;
use foil::prelude::*;
use foil::scheduler::Clock;
use foil::tensors::Named;
use foil::testing::{assert_close, from_yaml, network};
use std::collections::BTreeMap;
use std::path::Path;
use tch::Device;

/// One case of a golden file: the config, and its tensors in the precision under test.
struct Case {
    config: String,
    tensors: Named,
    kind: Kind,
}

impl Case {
    fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("the golden of {} has no `{name}`", self.config))
    }

    /// The tensors whose name starts with `prefix`, by the rest of it.
    fn under(&self, prefix: &str) -> Named {
        under(&self.tensors, prefix)
    }

    /// The comparison: tight in double precision.
    #[track_caller]
    fn compare(&self, found: &Tensor, name: &str) {
        // A scalar that was multiplied by a scheduled number, a double scalar, is double too.
        assert!(found.kind() == self.kind || found.dim() == 0, "{name} is {:?}", found.kind());
        eprintln!("comparing {name}");
        assert_close(found, self.get(name), if self.kind == Kind::Double { 1e-10 } else { 1e-5 });
    }
}

fn under(tensors: &Named, prefix: &str) -> Named {
    let rest = |(name, t): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_string(), t.shallow_clone()));
    tensors.iter().filter_map(rest).collect()
}

/// Runs `test` on every case of a file, in both precisions; all the file's tensors come along for
/// what cases share.
fn each_case(file: &str, test: impl Fn(&Case, &Named)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(file);
    let (tensors, metadata) = foil::tensors::read(&path).unwrap();
    let cases: BTreeMap<String, String> = serde_json::from_str(&metadata["cases"]).unwrap();
    assert!(cases.len() > 5);
    for kind in [Kind::Double, Kind::Float] {
        let cast = |t: &Tensor| if t.kind() == Kind::Double { t.to_kind(kind) } else { t.shallow_clone() };
        let tensors: Named = tensors.iter().map(|(name, t)| (name.clone(), cast(t))).collect();
        for (name, config) in &cases {
            if kind == Kind::Float && name.ends_with(".double") {
                continue;
            }
            // Shown when the case fails.
            eprintln!("{name} as {kind:?}: {config}");
            test(&Case { config: config.clone(), tensors: under(&tensors, &format!("{name}/")), kind }, &tensors);
        }
    }
}

#[test]
fn losses_and_their_gradients() {
    each_case("losses.safetensors", |case, _| {
        let loss: Box<dyn Loss> = from_yaml(&case.config, case.kind);
        let clock = Clock::new(1, 1, Device::Cpu);
        let leaf = |t: &Tensor| t.detach().copy().set_requires_grad(true);
        let given: BTreeMap<String, Tensor> =
            case.under("z.").iter().map(|(name, t)| (name.clone(), leaf(t))).collect();
        let named = |name: &str| given[name].shallow_clone();
        let mut logits = BTreeMap::new();
        for pass in loss.passes() {
            match pass {
                Forward::CleanFirst => drop(logits.insert(pass, named("clean_first"))),
                Forward::Clean => drop(logits.insert(pass, named("clean"))),
                Forward::CleanAgain => drop(logits.insert(pass, named("clean_again"))),
                Forward::Adversarial => drop(logits.insert(pass, named("adversarial"))),
                Forward::Together => {
                    logits.insert(Forward::Clean, named("clean"));
                    logits.insert(Forward::Adversarial, named("adversarial"));
                }
                Forward::CleanAfterUpdate | Forward::Images(_) | Forward::Network(..) => {}
            }
        }
        let side = case.under("side.");
        let input = LossInput::new(logits, case.get("y"), &side, &clock);
        input.check(loss.as_ref()).unwrap();
        let total = loss.forward(&input).unwrap().total;
        case.compare(&total, "total");
        let leaves: Vec<&Tensor> = given.values().collect();
        let gradients = Tensor::run_backward(&[&total], &leaves, false, false);
        for (name, gradient) in given.keys().zip(gradients) {
            let gradient = if gradient.defined() { gradient } else { given[name].zeros_like() };
            case.compare(&gradient, &format!("grad.{name}"));
        }
    });
}

#[test]
fn objectives_and_their_gradients() {
    each_case("objectives.safetensors", |case, _| {
        let objective: Box<dyn Objective> = from_yaml(&case.config, case.kind);
        let z = case.get("z").copy().set_requires_grad(true);
        let value = objective.value(&z, Reference { y: case.get("y"), clean: Some(case.get("clean")) });
        case.compare(&value, "value");
        let gradient = Tensor::run_backward(&[value.sum(None::<Kind>)], &[&z], false, false).remove(0);
        case.compare(&gradient, "grad");
    });
}

/// Images, side tensors, what the attack keeps and learns, and where batch norm's running
/// statistics end, which tells how often and in which mode the model was run.
#[test]
fn attacks() {
    each_case("attacks.safetensors", |case, shared| {
        let network = network(case.kind);
        network.params().load(&under(shared, "model.")).unwrap();
        let mut attack: Box<dyn Attack> = from_yaml(&case.config, case.kind);
        if let Some(learner) = attack.learner() {
            let mask = if case.config.contains("concat") { "mask_concat." } else { "mask_sum." };
            learner.network().params().load(&under(shared, mask)).unwrap();
        }
        for (name, mut mine) in attack.state() {
            if let Some(given) = case.tensors.get(&format!("state.{name}")) {
                mine.copy_(given);
            }
        }

        let clock = Clock::new(1, 1, Device::Cpu);
        let get = |name: &str| case.get(name).shallow_clone();
        let mut noise = Noise::new(&Tensor::from(0i64), case.get("index"));
        for (name, given) in case.tensors.iter().filter(|(name, _)| *name == "start" || name.starts_with("noise.")) {
            noise.give(name, given.shallow_clone());
        }
        let clean_logits = case.tensors.get("clean_logits").map(Tensor::shallow_clone);
        let batch = Batch { x: get("x"), y: get("y"), index: get("index"), noise, clock: &clock, clean_logits };
        let target = Target::new(&network, &batch.noise);
        let result = attack.perturb(&target, &batch).unwrap();
        let learning = attack.learning_mut();
        let learned = learning.map_or_else(Vec::new, |it| it.after_update(&target, &batch, &result).unwrap());

        case.compare(&result.x, "expected.x");
        for name in case.under("expected.side.").keys() {
            case.compare(&result.side[name], &format!("expected.side.{name}"));
        }
        for name in case.under("expected.learned.").keys() {
            let (_, value) = learned.iter().find(|(found, _)| found == name).unwrap();
            case.compare(value, &format!("expected.learned.{name}"));
        }
        let numbers: Named =
            attack.learner().map(|g| g.network().params().state_dict()).into_iter().flatten().collect();
        for name in case.under("expected.mask.").keys() {
            case.compare(&numbers[name], &format!("expected.mask.{name}"));
        }
        let state: Named = attack.state().into_iter().collect();
        for name in case.under("expected.after.").keys() {
            case.compare(&state[name], &format!("expected.after.{name}"));
        }
        let statistics: Named = network.params().state_dict().into_iter().collect();
        for name in ["running_mean", "running_var"] {
            case.compare(&statistics[&format!("bn.{name}")], &format!("expected.{name}"));
        }
    });
}

/// An attack whose result is stored.
struct Given {
    x_adv: Tensor,
    weight: Tensor,
}

impl Attack for Given {
    fn perturb(&mut self, _: &Target, _: &Batch) -> Result<Adversarial> {
        Ok(Adversarial::new(self.x_adv.shallow_clone()).with("mma.weight", self.weight.shallow_clone()))
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }
}

/// The loss and its gradient by every parameter through the passes that the loss asks for, and the
/// running statistics after them, which tell their order: a step of SGD with the attacked images
/// given.
#[test]
fn training_steps() {
    each_case("steps.safetensors", |case, shared| {
        let network = network(case.kind);
        network.params().load(&under(shared, "model.")).unwrap();
        let optimizer = from_yaml("{ type: sgd, lr: 0.1, momentum: 0, weight_decay: 0 }", case.kind);
        let model = Learner::new(network, optimizer);
        let get = |name: &str| shared[name].shallow_clone();
        let attack = Box::new(Given { x_adv: get("x_adv"), weight: get("weight") });
        let mut step = Step::new(model, attack, from_yaml(&case.config, case.kind), ["given", "loss"]);

        let (clock, index) = (Clock::new(1, 1, Device::Cpu), Tensor::arange(4, (Kind::Int64, Device::Cpu)));
        let noise = Noise::new(&Tensor::from(0i64), &index);
        let mut batch = Batch { x: get("x"), y: get("y"), index, noise, clock: &clock, clean_logits: None };
        let outcome = step.run(&mut batch).unwrap();

        case.compare(&outcome.loss.total, "total");
        let params = step.model.network().params();
        let gradients = params.named_gradients(&outcome.gradients);
        let flat: Vec<Tensor> = gradients.iter().map(|(_, gradient)| gradient.reshape([-1])).collect();
        case.compare(&Tensor::cat(&flat, 0), "gradient");
        let state: Named = params.state_dict().into_iter().collect();
        for name in ["running_mean", "running_var"] {
            case.compare(&state[&format!("bn.{name}")], name);
        }
    });
}
