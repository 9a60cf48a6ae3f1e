//! One training step: attack, the loss's forward passes, the update, and the attack's own
//! training.
//!
//! [`Step::run_with`] reads like Algorithm 1 of the papers. Three things act on a step without
//! being in its signatures, since they belong to the thread or the process that runs it:
//! - `foil profile`'s stopwatch ([`super::stopwatch`]) is started around a step by
//!   [`super::watched`], on its thread. [`lap`] ends a phase: here, in [`Target`], and in
//!   [`Learner::descend`]. Without a stopwatch it does nothing.
//! - With several ranks a step sees its share of a batch. Whoever runs the step sets it before
//!   ([`World::set_share`](crate::distributed::World::set_share)): the trainer, `foil profile`, and
//!   [`super::Repeated`], which sets the share that a graph was made for. Gradients
//!   ([`Learner`]) and [`Parameters::average_statistics`](crate::nn::Parameters) weight with it.
//! - A network computes as in training, or as in an evaluation while the guard of
//!   [`Network::evaluating`](super::Network::evaluating) lives; the guard also switches TF32, which is one
//!   switch for the process.

use super::lap;
use super::learner::Learner;
use super::turns::turns;
use crate::attack::{Adversarial, Attack, Batch, Target};
use crate::error::{ErrorKind, Part};
use crate::guard;
use crate::loss::{Forward, ImageSet, Loss, LossInput, LossOutput, Moment};
use crate::nn::{Gradients, KEEP_THE_GRAPH, Mode};
use crate::{Error, Result};
use std::cell::RefCell;
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
        self.run_with(batch, None, None).map_err(|error| match images == 1 && error.kind() == ErrorKind::OneImage {
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
        iterates: Option<&RefCell<Vec<Tensor>>>,
    ) -> Result<Outcome> {
        let passes = self.begin(batch, given.is_none())?;
        let mut logits = BTreeMap::new();
        self.pass_clean_first(&passes, batch, &mut logits)?;
        let adversarial = self.perturb(&passes, batch, given, iterates)?;
        self.pass_between(&passes, batch, &adversarial, &mut logits)?;
        let (mut loss, logits) = self.compute_loss(batch, &adversarial, logits)?;
        let gradients = self.update(&mut loss, batch, &logits)?;
        loss.parts.extend(self.train_attack(batch, &adversarial)?);
        let logits = self.pass_clean_after(&passes, batch, logits);
        self.average_statistics()?;
        Ok(Outcome { adversarial, logits, loss, gradients })
    }

    /// Starts the networks' step, and plans the loss's passes; `attacks`: whether the attack runs.
    fn begin(&self, batch: &Batch, attacks: bool) -> Result<Passes> {
        for learner in [Some(&self.model), self.attack.learner()].into_iter().flatten() {
            learner.network().start_step();
        }
        let asked = self.loss.passes();
        let repeat = guard(|| Ok(self.model.network().repeats(&batch.x, &batch.noise)))?;
        let first = asked.iter().find(|pass| pass.moment() != Moment::BeforeAttack);
        let attacked_is_next = attacks && repeat && first == Some(&Forward::Adversarial);
        let ends_with_it = guard(|| Ok(self.attack.ends_with_train_pass())).map_err(in_attack(self.names))?;
        let skip_attacks_last = attacked_is_next && ends_with_it;
        Ok(Passes { asked, repeat, skip_attacks_last })
    }

    /// The clean images before the attack, which sees their logits.
    fn pass_clean_first(&self, passes: &Passes, batch: &mut Batch, logits: &mut Logits) -> Result<()> {
        if passes.asked.contains(&Forward::CleanFirst) {
            let pass = || Ok(self.model.network().differentiable(&batch.x, Mode::Train, Some(&batch.noise)));
            let clean = guard(pass).map_err(in_loss(self.names))?;
            batch.clean_logits = Some(clean.detach());
            logits.insert(Forward::CleanFirst, clean);
            lap("forward passes before the attack");
        }
        Ok(())
    }

    /// The images to train on.
    fn perturb(
        &mut self,
        passes: &Passes,
        batch: &Batch,
        given: Option<Tensor>,
        iterates: Option<&RefCell<Vec<Tensor>>>,
    ) -> Result<Adversarial> {
        let mut target = Target::new(self.model.network(), &batch.noise);
        if let Some(iterates) = iterates {
            target = target.recording(iterates);
        }
        if passes.skip_attacks_last {
            target = target.skipping_last_pass();
        }
        let attack = &mut self.attack;
        let adversarial = guard(|| match given {
            Some(x_adv) => attack.complete(&target, batch, x_adv),
            None => batch.unwritten(|| attack.perturb(&target, batch)),
        });
        lap("attack: the rest");
        adversarial.map_err(in_attack(self.names))
    }

    /// The passes between attack and update.
    fn pass_between(
        &self,
        passes: &Passes,
        batch: &Batch,
        adversarial: &Adversarial,
        logits: &mut Logits,
    ) -> Result<()> {
        let momentum = self.model.network().params().norm_settings().momentum;
        let run = || {
            for turn in turns(&passes.asked, momentum, passes.skip_attacks_last, passes.repeat) {
                let counts_as = (turn.times, turn.momentum);
                let forward = |x: &Tensor| self.model.network().differentiable_for(counts_as, x, &batch.noise);
                let found = match turn.forwards[0].images() {
                    ImageSet::Clean => forward(&batch.x),
                    ImageSet::Adversarial => forward(&adversarial.x),
                    ImageSet::Both => {
                        let both = forward(&Tensor::cat(&[&batch.x, &adversarial.x], 0)).chunk(2, 0);
                        logits.extend([Forward::Clean, Forward::Adversarial].into_iter().zip(both));
                        continue;
                    }
                };
                logits.extend(turn.forwards.iter().map(|&pass| (pass, found.shallow_clone())));
            }
            Ok(())
        };
        guard(run).map_err(in_loss(self.names))?;
        lap("forward passes of the loss");
        Ok(())
    }

    /// The loss of the passes' logits, and the logits back.
    fn compute_loss(&self, batch: &Batch, adversarial: &Adversarial, logits: Logits) -> Result<(LossOutput, Logits)> {
        let input = LossInput::new(logits, &batch.y, &adversarial.side, batch.clock);
        let output = guard(|| self.loss.forward(&input)).map_err(in_loss(self.names))?;
        lap("loss");
        Ok((output, input.logits))
    }

    /// Descends the loss; its total is a plain number afterwards.
    fn update(&mut self, loss: &mut LossOutput, batch: &Batch, logits: &Logits) -> Result<Gradients> {
        if !logits.is_empty() && !logits.values().any(Tensor::requires_grad) {
            return Err(Error::new("its logits in train mode do not depend differentiably on its parameters")
                .help(KEEP_THE_GRAPH)
                .context(self.model.network().name()));
        }
        let gradients = guard(|| self.model.descend(&loss.total, batch.clock).map_err(in_loss(self.names)))?;
        loss.total = loss.total.detach();
        Ok(gradients)
    }

    /// The attack learns on the updated model.
    fn train_attack(&mut self, batch: &Batch, adversarial: &Adversarial) -> Result<Vec<(&'static str, Tensor)>> {
        let target = Target::new(self.model.network(), &batch.noise);
        let attack = &mut self.attack;
        let learned = guard(|| match attack.learning_mut() {
            Some(learning) => learning.after_update(&target, batch, adversarial),
            None => Ok(Vec::new()),
        });
        lap("what the attack learns");
        learned.map_err(in_attack(self.names))
    }

    /// The clean images after the update, if asked for; all logits without their graph.
    fn pass_clean_after(&self, passes: &Passes, batch: &Batch, mut logits: Logits) -> Logits {
        if passes.asked.contains(&Forward::CleanAfterUpdate) {
            let target = Target::new(self.model.network(), &batch.noise);
            logits.insert(Forward::CleanAfterUpdate, target.logits(&batch.x, Mode::Train));
            lap("forward passes after the update");
        }
        logits.into_iter().map(|(pass, z)| (pass, z.detach())).collect()
    }

    /// Batch norm's statistics over all ranks.
    fn average_statistics(&self) -> Result<()> {
        let networks = [Some(&self.model), self.attack.learner()].into_iter().flatten();
        networks.map(Learner::network).try_for_each(|network| network.params().average_statistics())
    }
}

/// Logits `[N, K]` by forward pass.
type Logits = BTreeMap<Forward, Tensor>;

/// The forward passes of a step.
struct Passes {
    /// What the loss asks for, in order.
    asked: Vec<Forward>,
    /// Whether passes over the same images give the same, and are made once.
    repeat: bool,
    /// Whether the attack leaves its last pass to the first one of the loss, which counts twice.
    skip_attacks_last: bool,
}

fn in_attack(names: [&str; 2]) -> impl Fn(Error) -> Error {
    move |error| error.placed().in_part(Part::Attack, names[0])
}

fn in_loss(names: [&str; 2]) -> impl Fn(Error) -> Error {
    move |error| error.placed().in_part(Part::Loss, names[1])
}
