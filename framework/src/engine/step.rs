//! One training step: attack, the loss's forward passes, the update, and the attack's own
//! training.
//!
//! [`Step::run_with`] reads like Algorithm 1 of the papers. Three things act on a step without
//! being in its signatures, since they belong to the thread or the process that runs it:
//! - `foil profile`'s stopwatch ([`super::stopwatch`]) is started around a step by
//!   [`super::watched`], on its thread. [`lap`] ends a phase: here, in [`Target`], and in
//!   [`Descending`]. Without a stopwatch it does nothing.
//! - With several ranks a step sees its share of a batch. The caller sets it before the step
//!   ([`World::set_share`](crate::distributed::World::set_share)): the trainer, `foil profile`, and
//!   [`super::Repeated`], which sets the share that a graph was made for. Gradients
//!   ([`Learner`]) and [`Parameters::average_statistics`](crate::nn::Parameters) weight with it.
//! - A network computes as in training, or as in an evaluation while the guard of
//!   [`Network::evaluating`](super::Network::evaluating) lives; the guard also switches TF32, which
//!   is one switch for the process.

use super::averaged::{Averaged, Averages};
use super::descent::{Descended, Descending};
use super::lap;
use super::learner::Learner;
use super::network::Network;
use super::networks::Networks;
use super::passes::{Found, Logits, Passes};
use crate::attack::{Adversarial, Attack, Batch, Target};
use crate::error::{ErrorKind, Part};
use crate::guard;
use crate::loss::{Forward, ImageSet, Loss, LossInput, LossOutput, Moment};
use crate::nn::Gradients;
use crate::nn::kernels::in_plain_form;
use crate::scheduler::Progress;
use crate::update::Update;
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
    /// How the loss becomes a change of the weights, with its name; `None`: the optimiser is handed
    /// its gradient.
    pub update: Option<(Box<dyn Update>, &'static str)>,
    /// Teachers and helpers.
    pub networks: Networks,
    /// What is evaluated in the model's place, and what is saved beside it.
    pub averages: Averages,
    /// Names of attack and loss, for messages.
    pub names: [&'static str; 2],
    /// Epochs whose end the loss has seen, `[]` int64 on the host.
    pub epochs_of_loss: Tensor,
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
    /// A step of these parts, and nothing else: no further networks, a plain update, no average.
    pub fn new(model: Learner, attack: Box<dyn Attack>, loss: Box<dyn Loss>, names: [&'static str; 2]) -> Self {
        Self {
            model,
            attack,
            loss,
            update: None,
            networks: Networks::default(),
            averages: Averages::default(),
            names,
            epochs_of_loss: Tensor::from(0i64),
        }
    }

    /// The network that is measured, selected and saved: the average, or the model.
    pub fn evaluated(&self) -> &Network {
        self.averages.evaluated.as_ref().map_or_else(|| self.model.network(), Averaged::network)
    }

    /// Sets the averages to the model: when the model's weights are not its initial ones.
    pub fn begin_averages(&self) {
        self.averages.named().for_each(|(_, average)| average.equal(self.model.network().params()));
    }

    /// The networks that learn.
    fn learners(&self) -> impl Iterator<Item = &Learner> {
        let of_step = [Some(&self.model), self.attack.learner()].into_iter().flatten();
        of_step.chain(self.networks.learners().map(|(_, learner)| learner))
    }

    /// The part that cannot be captured in a CUDA graph, if there is one.
    pub fn against_capture(&self) -> Option<String> {
        let [attack, loss] = self.names;
        let because = |what: &str, name: &str| format!("the {what} `{name}` does not support it");
        let attack = (!self.attack.capturable()).then(|| because("attack", attack));
        let loss = || (!self.loss.capturable()).then(|| because("loss", loss));
        let update = || self.update.as_ref().filter(|(update, _)| !update.capturable());
        let update = || update().map(|(_, name)| because("update", name));
        let networks = self.learners().map(Learner::network).chain(self.networks.iter().map(|(_, one)| one.network()));
        let model = || networks.into_iter().find(|network| !network.capturable());
        attack.or_else(loss).or_else(update).or_else(|| model().map(|_| "the model does not support it".to_string()))
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
        let Descended { mut loss, logits, gradients } = self.descend(&passes, batch, &adversarial, logits)?;
        let logits = self.change_state_of_loss(batch, &adversarial, logits)?;
        loss.parts.extend(self.train_attack(batch, &adversarial)?);
        let logits = self.pass_clean_after(&passes, batch, logits);
        self.average_statistics()?;
        self.follow(batch);
        Ok(Outcome { adversarial, logits, loss, gradients })
    }

    /// Starts the networks' step, and plans the loss's passes; `attacks`: whether the attack runs.
    fn begin(&self, batch: &Batch, attacks: bool) -> Result<Passes> {
        self.networks.iter().for_each(|(_, further)| further.network().start_step());
        for learner in [Some(&self.model), self.attack.learner()].into_iter().flatten() {
            learner.network().start_step();
        }
        let asked = self.loss.passes();
        let repeat = guard(|| Ok(self.model.network().repeats(&batch.x, &batch.noise)))?;
        let first = asked.iter().find(|pass| pass.moment() != Moment::BeforeAttack);
        let attacked_is_next = attacks && repeat && first == Some(&Forward::Adversarial);
        let ends_with_it = guard(|| Ok(self.attack.ends_with_train_pass())).map_err(in_attack(self.names))?;
        let at_these_weights = !self.update.as_ref().is_some_and(|(update, _)| update.moves());
        let skip_attacks_last = attacked_is_next && ends_with_it && at_these_weights;
        Ok(Passes { asked, repeat, skip_attacks_last })
    }

    /// The images to train on.
    fn perturb(
        &mut self,
        passes: &Passes,
        batch: &Batch,
        given: Option<Tensor>,
        iterates: Option<&RefCell<Vec<Tensor>>>,
    ) -> Result<Adversarial> {
        let mut target = Target::new(self.model.network(), &batch.noise).among(&self.networks);
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

    /// From the attacked images to changed weights: the loss's passes, the loss, its gradient and
    /// the optimiser's step, in the order of the update.
    fn descend(
        &mut self,
        passes: &Passes,
        batch: &Batch,
        adversarial: &Adversarial,
        before: Logits,
    ) -> Result<Descended> {
        let mut update = self.update.take();
        let mut descending = Descending::new(self, passes, batch, adversarial, before);
        let done = match &mut update {
            None => descending.plainly(),
            Some((update, _)) => guard(|| update.update(&mut descending, batch.clock)),
        };
        let done = done.and_then(|()| descending.finish());
        let name = update.as_ref().map(|(_, name)| *name);
        self.update = update;
        done.map_err(|error| match name {
            Some(name) if error.part().is_none() => error.placed().in_part(Part::Update, name),
            _ => error,
        })
    }

    /// The loss of what the passes found, and the logits back.
    pub(super) fn compute_loss(
        &self,
        batch: &Batch,
        adversarial: &Adversarial,
        logits: Logits,
        Found { leaves, features }: Found,
    ) -> Result<(LossOutput, Logits)> {
        let twice = !leaves.is_empty();
        let input = self.input_of_loss(batch, adversarial, logits).of_leaves(leaves).of_features(features);
        let forward = || guard(|| self.loss.forward(&input));
        let output = if twice { in_plain_form(forward) } else { forward() }.map_err(in_loss(self.names))?;
        lap("loss");
        Ok((output, input.logits))
    }

    fn input_of_loss<'a>(&self, batch: &'a Batch, adversarial: &'a Adversarial, logits: Logits) -> LossInput<'a> {
        let further = self.attack.images().into_iter().filter_map(|name| {
            let images = adversarial.images.get(name)?;
            Some((ImageSet::Named(name), images.shallow_clone()))
        });
        let sets = [(ImageSet::Clean, &batch.x), (ImageSet::Adversarial, &adversarial.x)];
        let sets = sets.map(|(set, images)| (set, images.shallow_clone())).into_iter().chain(further).collect();
        let input = LossInput::new(logits, &batch.y, &adversarial.side, batch.clock).of_sets(sets);
        input.of_images(&batch.index, self.model.network().world())
    }

    /// The loss changes what it keeps; the logits back, without their graph.
    fn change_state_of_loss(&mut self, batch: &Batch, adversarial: &Adversarial, logits: Logits) -> Result<Logits> {
        let logits = logits.into_iter().map(|(pass, z)| (pass, z.detach())).collect();
        let input = self.input_of_loss(batch, adversarial, logits);
        let loss = &mut self.loss;
        guard(|| tch::no_grad(|| loss.after_update(&input))).map_err(in_loss(self.names))?;
        Ok(input.logits)
    }

    /// Ends an epoch, of which `progress` is the last step, for the loss; again, it does nothing.
    ///
    /// # Errors
    /// What the loss panics with.
    pub fn end_epoch(&mut self, progress: &Progress) -> Result<()> {
        let done = progress.epoch as i64 + 1;
        if self.epochs_of_loss.int64_value(&[]) < done {
            let _ = self.epochs_of_loss.fill_(done);
            let loss = &mut self.loss;
            let ended = guard(|| {
                tch::no_grad(|| loss.after_epoch());
                Ok(())
            });
            ended.map_err(in_loss(self.names))?;
        }
        Ok(())
    }

    /// What the loss keeps between steps, by name, sharing its memory.
    pub fn state_of_loss(&self) -> Vec<(String, Tensor)> {
        let mut state = self.loss.state();
        if !state.is_empty() {
            state.push(("epochs-ended".to_string(), self.epochs_of_loss.shallow_clone()));
        }
        state
    }

    /// The attack learns on the updated model.
    fn train_attack(&mut self, batch: &Batch, adversarial: &Adversarial) -> Result<Vec<(&'static str, Tensor)>> {
        let target = Target::new(self.model.network(), &batch.noise).among(&self.networks);
        let attack = &mut self.attack;
        let learned = guard(|| match attack.learning_mut() {
            Some(learning) => learning.after_update(&target, batch, adversarial),
            None => Ok(Vec::new()),
        });
        lap("what the attack learns");
        learned.map_err(in_attack(self.names))
    }

    /// Batch norm's statistics over all ranks.
    fn average_statistics(&self) -> Result<()> {
        self.learners().try_for_each(|learner| learner.network().params().average_statistics())
    }

    /// The averages follow the updated model.
    fn follow(&mut self, batch: &Batch) {
        for average in self.averages.iter_mut() {
            average.follow_update(self.model.network().params(), batch.clock);
            lap("average");
        }
    }
}

pub(super) fn in_attack(names: [&str; 2]) -> impl Fn(Error) -> Error {
    move |error| error.placed().in_part(Part::Attack, names[0])
}

pub(super) fn in_loss(names: [&str; 2]) -> impl Fn(Error) -> Error {
    move |error| error.placed().in_part(Part::Loss, names[1])
}
