//! The step itself, and what comes out of it under which name.

use super::{Inputs, LEARNER, per_image};
use crate::attack::Batch;
use crate::engine::Learner;
use crate::loss::Forward;
use crate::nn::{Gradients, Noise, key_of, name_key};
use crate::pipeline::{Assembled, Pipeline};
use crate::scheduler::Clock;
use crate::{Error, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Everything a step made.
#[derive(Debug)]
pub struct Probed {
    /// Every tensor under its name in the file.
    pub tensors: Vec<(String, Tensor)>,
    /// Names of the draws that were made and not given.
    pub random: Vec<String>,
    /// What happened to each parameter.
    pub updates: Vec<Update>,
}

/// What happened to one parameter.
#[derive(Debug)]
pub struct Update {
    /// The parameter.
    pub name: String,
    /// The Euclidean norm of its gradient.
    pub gradient: f64,
    /// The largest change of one of its numbers.
    pub change: f64,
}

/// Runs one step of `parts`, which `pipeline` describes, on `inputs`: the first step of a run, with the optimiser's state zero.
///
/// What is random and not given is drawn as in the first epoch of a training run with the same seed and image indices.
///
/// # Errors
/// What a plugin reports; and a draw that was given in another shape than the step draws it in, or that it never draws.
pub fn probe(parts: &mut Assembled, pipeline: &Pipeline, inputs: Inputs, iterates: bool) -> Result<Probed> {
    let Inputs { model, learner, state, x, y, index, x_adv, draws } = inputs;
    parts.step.model.network().params().load(&model)?;
    if let Some(own) = parts.step.attack.learner() {
        own.network().params().load(&learner)?;
        own.keep_gradients();
    }
    for (name, all) in per_image(parts.step.attack.as_ref(), &parts.data) {
        if let Some(rows) = state.get(&name) {
            let _ = all.shallow_clone().index_copy_(0, &index, &rows.to_kind(all.kind()));
        }
    }
    let before = [Some(&parts.step.model), parts.step.attack.learner()].map(|learner| learner.map(values));

    let device = x.device();
    let steps = (parts.data.train as u64).div_ceil(pipeline.train.batch_size);
    let clock = Clock::new(pipeline.train.epochs, steps, device);
    let key = Tensor::from(key_of(&[pipeline.seed, name_key("train"), 0])).to_device(device);
    let mut noise = Noise::new(&key, &index);
    let given: BTreeMap<String, Vec<i64>> = draws.iter().map(|(name, t)| (name.clone(), t.size())).collect();
    draws.into_iter().for_each(|(name, values)| noise.give(&name, values));
    let mut batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
    let points = RefCell::new(Vec::new());
    let outcome = parts.step.run_with(&mut batch, x_adv, iterates.then_some(&points));
    let drawn = batch.noise.drawn();
    // A draw of the wrong shape is the cause of whatever the step complained of.
    let outcome = misgiven(&given, &drawn, outcome.is_ok()).map_or(outcome, Err)?;

    let mut out = Output::default();
    // Where the attack trains on something else than what it attacked, it says so by a side tensor of this name.
    out.add("x_adv", &outcome.adversarial.x);
    outcome.adversarial.side.iter().for_each(|(name, t)| out.add(name, t));
    points.into_inner().iter().enumerate().for_each(|(k, t)| out.add(&format!("iterate.{k}"), t));
    let one_clean = !outcome.logits.contains_key(&Forward::Clean);
    outcome.logits.iter().for_each(|(pass, t)| out.add(&format!("logits.{}", name_of(*pass, one_clean)), t));
    out.add("loss.total", &outcome.loss.total);
    outcome.loss.parts.iter().for_each(|(name, t)| out.add(&format!("loss.{name}"), t));
    let [model_before, learner_before] = before;
    out.learner("", &parts.step.model, Some(&outcome.gradients), model_before);
    if let Some(own) = parts.step.attack.learner() {
        out.learner(LEARNER, own, own.last_gradients(), learner_before);
    }
    for (name, all) in per_image(parts.step.attack.as_ref(), &parts.data) {
        out.add(&name, &all.index_select(0, &batch.index));
    }
    let random = drawn.into_keys().filter(|name| !given.contains_key(name)).collect();
    Ok(Probed { tensors: out.tensors.into_iter().collect(), random, updates: out.updates })
}

/// Copies of a network's parameters and buffers.
fn values(learner: &Learner) -> BTreeMap<String, Tensor> {
    learner.network().params().state_dict().into_iter().map(|(name, t)| (name, t.copy())).collect()
}

/// What a pass is called in the file; `one_clean` when there is no other clean pass before the update.
fn name_of(pass: Forward, one_clean: bool) -> &'static str {
    match pass {
        Forward::CleanFirst if one_clean => "clean",
        Forward::CleanFirst => "clean_first",
        Forward::Clean => "clean",
        Forward::Adversarial => "adv",
        Forward::CleanAgain => "clean_again",
        Forward::Together => "together",
        Forward::CleanAfterUpdate => "clean_after_update",
    }
}

/// What is wrong with the given draws, if anything. After a step that failed, draws may be missing for that reason.
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
