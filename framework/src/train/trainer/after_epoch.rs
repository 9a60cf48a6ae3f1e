//! What follows an epoch's steps: its measurements, the choice of the best checkpoint, and what is written down.

use super::take_up::Curves;
use super::{Tally, Trainer};
use crate::distinct::distinct;
use crate::eval::{NATURAL, Standing, Trial, UnderWay};
use crate::record::{Row, Values, stamp};
use crate::train::describe::tag;
use crate::train::heartbeat::Beat;
use crate::train::state::state;
use crate::{AtPath, Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

impl Trainer {
    /// Names to measure each epoch: those of the selection rule, then those watched.
    fn watched(&self) -> Vec<String> {
        let selecting = self.parts.select.names().into_iter().map(String::from);
        distinct(selecting.chain(self.pipeline.train.watch.iter().cloned()))
    }

    /// Accuracies after this epoch; `None` when it was stopped.
    pub(super) fn measure(&mut self, steps: u64, stop: &AtomicBool) -> Result<Option<Values>> {
        let (mut accuracies, names) = (Values::new(), self.watched());
        let now = Beat { measuring: true, ..self.now(steps) }; // its means are read from the device once
        for (number, name) in (1..).zip(&names) {
            let attack = self.parts.attacks.get_mut(name);
            if attack.is_none() && name != NATURAL {
                return Err(Error::new(format!("there is no attack called `{name}`")));
            }
            let mut trial = Trial {
                name,
                attack: attack.map(|attack| attack.as_mut() as _),
                data: &self.judge,
                batch_size: self.pipeline.train.eval_batch_size as i64,
                seed: self.pipeline.seed,
            };
            let (heartbeat, mut standing) = (&mut self.heartbeat, trial.begin());
            let mut say = |standing: &Standing| {
                let under_way = || Some(UnderWay::new(name, number, names.len(), standing));
                if let Some(heartbeat) = heartbeat.as_mut().filter(|heartbeat| heartbeat.due()) {
                    heartbeat.write(Beat { under_way: under_way(), ..now.clone() });
                }
            };
            say(&standing);
            let done = trial.advance(self.parts.step.model.network(), &mut standing, &mut |tick| {
                say(tick.standing);
                !stop.load(Ordering::Relaxed)
            })?;
            if !done {
                return Ok(None);
            }
            accuracies.insert(name.clone(), standing.accuracy());
        }
        Ok(Some(accuracies))
    }

    /// Writes the epoch down, and begins the next.
    pub(super) fn finish_epoch(
        &mut self,
        values: Values,
        measured: bool,
        steps: u64,
        trained: Duration,
        total: Duration,
    ) -> Result<()> {
        let epoch = self.position.epoch + 1;
        let step = epoch * steps;
        self.card.epochs = epoch;
        self.card.metrics = values.clone();
        self.card.created = stamp::now();
        let weights = self.parts.step.model.network().params().state_dict();
        if measured {
            let score = self.parts.select.eval(|name| values.get(name).copied()).map_err(Error::of)?;
            if self.position.best.offer(epoch, score) && self.world.is_first() {
                if let Some(mask) = self.parts.step.attack.learner() {
                    self.folder.write_model(
                        &self.folder.best_mask(),
                        &mask.network().params().state_dict(),
                        &self.card,
                    )?;
                }
                self.folder.write_model(&self.folder.best(), &weights, &self.card)?;
            }
        }
        let means = values.iter().filter_map(|(name, value)| Some((name.strip_prefix("train_")?.to_string(), *value)));
        let remark = self.parts.step.attack.remark(&means.collect());
        if let Some(remark) = remark.as_ref().filter(|_| self.world.is_first() && remark != self.remark) {
            tracing::warn!("epoch {epoch}: {remark}");
        }
        self.remark = remark;
        let fields = serde_json::to_string(&values).unwrap_or_default();
        tracing::info!(epoch, seconds = total.as_secs_f64(), metrics = fields, "Epoch finished.");
        let mut curves: Vec<(String, f64)> = values.iter().map(|(name, value)| (tag(name), *value)).collect();
        curves.push(("time/train_seconds".into(), trained.as_secs_f64()));
        curves.push(("time/epoch_seconds".into(), total.as_secs_f64()));
        let curves: Vec<(&str, f64)> = curves.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        if let Some(Curves { metrics, events }) = &mut self.curves {
            events.scalars(step, &curves).at("writing", self.folder.path())?;
            metrics.append(Row { epoch, step, values }).at("writing", self.folder.path())?;
            self.folder.write_model(&self.folder.last(), &weights, &self.card)?;
        }
        self.tally = Tally::new(self.device);
        (self.position.epoch, self.position.step) = (epoch, 0);
        self.save_state().inspect_err(|_| (self.position.epoch, self.position.step) = (epoch - 1, steps))
    }

    /// Saves all that a resumed run needs.
    pub(super) fn save_state(&mut self) -> Result<()> {
        self.tally.merge(self.world)?;
        let (sums, images) = self.tally.state();
        self.position.tallied = images;
        if self.world.is_first() {
            let mut state = state(&self.parts);
            state.extend(sums.into_iter().map(|(name, sum)| (format!("tally.{name}"), sum)));
            self.folder.write_state(&state, &self.position)?;
        }
        self.saved = true;
        Ok(())
    }
}
