//! One training step: attack, the loss's forward passes, the update, and the attack's own
//! training.

use super::guard;
use super::learner::Learner;
use super::stopwatch::lap;
use super::turns::turns;
use crate::attack::{Adversarial, Attack, Batch, Target};
use crate::loss::{Forward, Loss, LossInput, LossOutput};
use crate::nn::{Gradients, KEEP_THE_GRAPH, Mode};
use crate::{Error, Result};
use std::collections::BTreeMap;
use tch::Tensor;

/// The parts of a training step.
pub struct Step {
    /// The model f and its optimiser.
    pub model: Learner,
    /// The attack that makes the training images.
    pub attack: Box<dyn Attack>,
    /// What is descended.
    pub loss: Box<dyn Loss>,
    /// Names of the two plugins, for messages.
    pub names: [&'static str; 2],
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Step of attack {}, loss {}, {:?}", self.names[0], self.names[1], self.model)
    }
}

/// Everything a step computed, on the device.
#[derive(Debug)]
pub struct Outcome {
    /// The attack's result.
    pub adversarial: Adversarial,
    /// Logits by forward pass.
    pub logits: BTreeMap<Forward, Tensor>,
    /// The loss and its parts; what the attack learned is appended to the parts.
    pub loss: LossOutput,
    /// The gradient the update used.
    pub gradients: Gradients,
}

/// libtorch's message for batch norm over one vector.
const LONELY: &str = "Expected more than 1 value per channel when training";

impl Step {
    /// The part that cannot be captured in a CUDA graph, if there is one.
    pub fn against_capture(&self) -> Option<String> {
        let [attack, loss] = self.names;
        let because = |what: &str, name: &str| format!("the {what} `{name}` does not support it");
        let attack = (!self.attack.capturable()).then(|| because("attack", attack));
        let loss = || (!self.loss.capturable()).then(|| because("loss", loss));
        let networks = [Some(&self.model), self.attack.learner()].into_iter().flatten();
        let model = || networks.map(Learner::network).find(|network| !network.capturable());
        attack.or_else(loss).or_else(|| model().map(|_| "the model does not support it".to_string()))
    }

    /// Runs the step on `batch`, which must not be empty.
    ///
    /// # Errors
    /// What a plugin reports or panics with, naming it.
    pub fn run(&mut self, batch: &mut Batch) -> Result<Outcome> {
        let images = batch.x.size()[0];
        self.run_with(batch, None, None).map_err(|error| match images == 1 && error.message().contains(LONELY) {
            true => error.context("this batch has one image, and batch norm over vectors needs two").help(
                "the last batch of an epoch holds the rest: `train: { drop_last: true }` drops it; \
                 or choose another `batch_size`",
            ),
            false => error,
        })
    }

    /// As [`Step::run`], with attacked images given (then the attack only completes them), or its
    /// iterates recorded.
    ///
    /// # Errors
    /// As [`Step::run`].
    pub fn run_with(
        &mut self,
        batch: &mut Batch,
        given: Option<Tensor>,
        iterates: Option<&std::cell::RefCell<Vec<Tensor>>>,
    ) -> Result<Outcome> {
        let [attack_name, loss_name] = self.names;
        let in_attack = |e: Error| e.placed().context(format!("attack `{attack_name}`"));
        let in_loss = |e: Error| e.placed().context(format!("loss `{loss_name}`"));
        self.model.network().start_step();
        if let Some(learner) = self.attack.learner() {
            learner.network().start_step();
        }
        let passes = self.loss.passes();
        let repeats = guard(|| Ok(self.model.network().repeats(&batch.x, &batch.noise)))?;
        let mut logits = BTreeMap::new();
        if passes.contains(&Forward::CleanFirst) {
            let clean = guard(|| Ok(self.model.network().differentiable(&batch.x, Mode::Train, Some(&batch.noise))))
                .map_err(in_loss)?;
            batch.clean_logits = Some(clean.detach());
            logits.insert(Forward::CleanFirst, clean);
            lap("forward passes before the attack");
        }

        let target = Target::new(self.model.network(), &batch.noise);
        let target = match iterates {
            Some(iterates) => target.recording(iterates),
            None => target,
        };
        let next = passes.iter().find(|pass| !matches!(pass, Forward::CleanFirst)).filter(|_| repeats);
        let (adversarial, spared) = guard(|| match given {
            Some(x_adv) => Ok((self.attack.complete(&target, batch, x_adv)?, false)),
            None if next == Some(&Forward::Adversarial) => {
                batch.unwritten(|| self.attack.perturb_sparing(&target, batch))
            }
            None => Ok((batch.unwritten(|| self.attack.perturb(&target, batch))?, false)),
        })
        .map_err(in_attack)?;
        lap("attack: the rest");

        let loss = guard(|| {
            for turn in turns(&passes, spared, repeats) {
                let stands_for = (turn.times, turn.momentum);
                let forward = |x: &Tensor| self.model.network().differentiable_for(stands_for, x, &batch.noise);
                if turn.forwards[0] == Forward::Together {
                    let both = forward(&Tensor::cat(&[&batch.x, &adversarial.x], 0)).chunk(2, 0);
                    logits.insert(Forward::Clean, both[0].shallow_clone());
                    logits.insert(Forward::Adversarial, both[1].shallow_clone());
                    continue;
                }
                let is_attacked = turn.forwards[0] == Forward::Adversarial;
                let found = forward(if is_attacked { &adversarial.x } else { &batch.x });
                logits.extend(turn.forwards.iter().map(|&pass| (pass, found.shallow_clone())));
            }
            let input = LossInput::new(std::mem::take(&mut logits), &batch.y, &adversarial.side, batch.clock);
            lap("forward passes of the loss");
            let output = self.loss.forward(&input)?;
            lap("loss");
            logits = input.logits;
            Ok(output)
        });
        let mut loss = loss.map_err(in_loss)?;
        let flat = !logits.is_empty() && !logits.values().any(Tensor::requires_grad);
        let model = self.model.network().name();
        let gradients = guard(|| match flat {
            true => Err(Error::new("its logits in train mode do not depend differentiably on its parameters")
                .help(KEEP_THE_GRAPH)),
            false => self.model.descend(&loss.total, batch.clock).map_err(in_loss),
        })
        .map_err(|e| if flat { e.context(model) } else { e })?;
        loss.total = loss.total.detach();

        let target = Target::new(self.model.network(), &batch.noise);
        let learned = guard(|| self.attack.after_update(&target, batch, &adversarial)).map_err(in_attack)?;
        loss.parts.extend(learned);
        lap("what the attack learns");
        if passes.contains(&Forward::CleanAfterUpdate) {
            logits.insert(Forward::CleanAfterUpdate, target.logits(&batch.x, Mode::Train));
            lap("forward passes after the update");
        }
        self.model.network().params().average_statistics()?;
        if let Some(learner) = self.attack.learner() {
            learner.network().params().average_statistics()?;
        }
        let logits = logits.into_iter().map(|(pass, z)| (pass, z.detach())).collect();
        Ok(Outcome { adversarial, logits, loss, gradients })
    }
}
