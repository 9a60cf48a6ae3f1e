//! One epoch: its steps, and what follows the last one.

use super::Trainer;
use crate::pipeline::Assembled;
use crate::record::Values;
use crate::train::describe::summary;
use crate::train::feed::At;
use crate::train::heartbeat::Heartbeat;
use crate::train::observer::Observer;
use crate::train::ranks::{self, Visited};
use crate::train::step_on::step_on;
use foil::Result;
use foil::data::{Augmentations, Augmenting};
use foil::distributed::Share;
use foil::nn::{key_of, name_key};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tch::{Device, Tensor};

impl Trainer {
    /// One epoch; false when it was stopped within.
    pub(super) fn epoch(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<bool> {
        let (epoch, epochs, steps) = (self.position.epoch, self.pipeline.train.epochs, self.steps_an_epoch());
        let observer: &mut dyn Observer = if self.world.is_first() { observer } else { &mut () };
        let started = Instant::now();
        let order = self.shuffle();
        observer.epoch_started(epoch + 1, epochs, steps, self.position.step);

        while self.position.step < steps {
            if self.vote.stop(self.world, stop.load(Ordering::Relaxed))? {
                observer.epoch_ended("stopped");
                self.agree(&order)?;
                return Ok(false);
            }
            self.step(&order)?;
            observer.step_done(&|| format!("loss {:.3}", self.epoch_sums.loss().unwrap_or(f64::NAN)));
            if self.heartbeat.as_ref().is_some_and(Heartbeat::due) {
                self.beat(steps);
            }
            if self.is_due(self.position.step) {
                self.agree(&order)?;
                self.save_state()?;
            }
        }

        let mut values = self.end_of_steps(&order)?;
        let trained = started.elapsed();
        let measured = (epoch + 1).is_multiple_of(self.pipeline.train.eval_every) || epoch + 1 == epochs;
        if measured {
            let Some(accuracies) = self.measure(steps, stop)? else {
                observer.epoch_ended("stopped");
                return Ok(false);
            };
            values.extend(accuracies);
            self.log_images((epoch + 1) * steps)?;
        }
        observer.epoch_ended(&summary(&values));
        self.finish_epoch(values, measured, steps, trained, started.elapsed())?;
        Ok(true)
    }

    /// The order of the base set's images, `[N]`; sets the key of the epoch's random numbers.
    fn shuffle(&mut self) -> Tensor {
        let (seed, epoch) = (self.pipeline.seed, self.position.epoch);
        let _ = self.key.fill_(key_of(&[seed, name_key("train"), epoch]));
        self.train.order(epoch)
    }

    /// One step: on this rank's share of the next batch of `order`.
    fn step(&mut self, order: &Tensor) -> Result<()> {
        let (epoch, step, steps) = (self.position.epoch, self.position.step, self.steps_an_epoch());
        let share = self.train.share(step, self.world);
        self.world.set_share(share);
        self.clock.set(epoch, step);
        let Self { parts, train, key, clock, .. } = self;
        let Assembled { step: work, augment: list, .. } = parts;
        let (taken, part) = gathered(list, share);
        let inputs = train.inputs(At { epoch, step, order }, taken, steps)?;
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let (base, augment) = (train.base(), Augmenting { list, key, part });
        let (outcome, labels) = self.steps.run(&inputs, &mut |inputs| step_on(work, base, inputs, augment, clock))?;
        self.epoch_sums.step(outcome, labels, share.mine > 0);
        let updates = epoch * steps + step + 1;
        let logged = self.pipeline.log.steps.is_some_and(|every| updates.is_multiple_of(every));
        let scalars = (logged && self.curves.is_some()).then(|| Self::scalars(outcome));
        if let Some(scalars) = scalars {
            self.log_step(updates, scalars)?;
        }
        if self.writer.has_ended() {
            self.settle()?;
        }
        let done = step + 1;
        // On the CPU reading the loss is free; elsewhere it waits for the device, so it is read
        // only now and then.
        let read = self.device == Device::Cpu || done.is_multiple_of(50) || done == steps;
        if read || self.is_due(done) {
            self.sound()?;
        }
        self.position.step = done;
        Ok(())
    }

    /// Whether `train.checkpoint_steps` asks for a checkpoint after `done` steps of an epoch.
    fn is_due(&self, done: u64) -> bool {
        let every = self.pipeline.train.checkpoint_steps;
        done < self.steps_an_epoch() && every.is_some_and(|every| done.is_multiple_of(every))
    }

    /// Brings the ranks together after an epoch's last step. Returns the epoch's training metrics.
    fn end_of_steps(&mut self, order: &Tensor) -> Result<Values> {
        // A run that was stopped while it measured and is resumed has not set it.
        self.clock.set(self.position.epoch, self.steps_an_epoch() - 1);
        self.epoch_sums.merge(self.world)?;
        self.average_epoch(order)?;
        self.parts.step.end_epoch(&self.clock.progress())?;
        self.agree(order)?;
        let mut values = self.epoch_sums.means();
        values.insert("lr".into(), self.parts.step.model.learning_rate(&self.clock.progress()));
        Ok(values)
    }

    /// Makes the ranks' state consistent before it is saved.
    fn agree(&self, order: &Tensor) -> Result<()> {
        if !self.world.is_joined() {
            return Ok(());
        }
        let order = self.train.base().indices(order);
        let (size, steps) = (self.pipeline.train.batch_size as i64, self.position.step as i64);
        ranks::merge(self.world, &self.parts, &Visited { order: &order, size, steps })?;
        ranks::compare(self.world, &self.parts)
    }
}

/// The images that a rank gathers for its `share` of a batch, and the part of them that it keeps:
/// where images are mixed with each other it needs all.
pub(super) fn gathered(augment: &Augmentations, share: Share) -> (Share, Option<(i64, i64)>) {
    match augment.mixing() {
        Some(_) => (Share { start: 0, mine: share.all, all: share.all }, Some(share.rows())),
        None => (share, None),
    }
}
