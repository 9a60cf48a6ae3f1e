//! What follows an epoch's steps: measuring, choosing the best checkpoint, and writing the
//! results.

use super::start_or_resume::Curves;
use super::{EpochSums, Place, Trainer};
use crate::eval::{AttackProgress, NATURAL, Trial, UnderWay};
use crate::record::{ModelCard, Row, Values, metrics, stamp};
use crate::train::collapse;
use crate::train::describe::tag;
use crate::train::folder::{Folder, Position};
use crate::train::heartbeat::Beat;
use crate::train::state::state;
use crate::train::writer::{TensorFile, kept};
use foil::distinct;
use foil::engine::{Averaged, Network};
use foil::{AtPath, Error, Result};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

impl Trainer {
    /// Names to measure each epoch: those of the selection rule, then those watched.
    pub(super) fn watched(&self) -> Vec<String> {
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
                data: &self.eval_images,
                batch_size: self.pipeline.train.eval_batch_size as i64,
                seed: self.pipeline.seed,
                keeps_images: false,
            };
            let (heartbeat, mut progress) = (&mut self.heartbeat, trial.begin());
            let mut say = |progress: &AttackProgress| {
                let under_way = || Some(UnderWay::new(name, number, names.len(), progress));
                if let Some(heartbeat) = heartbeat.as_mut().filter(|heartbeat| heartbeat.due()) {
                    heartbeat.write(Beat { under_way: under_way(), ..now.clone() });
                }
            };
            say(&progress);
            let done = trial.advance(self.parts.step.evaluated(), &mut progress, &mut |tick| {
                say(tick.progress);
                !stop.load(Ordering::Relaxed)
            })?;
            if !done {
                return Ok(None);
            }
            accuracies.insert(name.clone(), progress.accuracy());
        }
        Ok(Some(accuracies))
    }

    /// Records the epoch, and starts the next.
    pub(super) fn finish_epoch(
        &mut self,
        values: Values,
        measured: bool,
        steps: u64,
        trained: Duration,
        total: Duration,
    ) -> Result<()> {
        self.settle()?;
        let epoch = self.position.epoch + 1;
        let step = epoch * steps;
        self.card.epochs = epoch;
        self.card.metrics = values.clone();
        self.card.created = stamp::now();
        let (is_first, mut files) = (self.world.is_first(), Vec::new());
        let numbers = |network: &Network| if is_first { kept(&network.params().state_dict()) } else { Vec::new() };
        let weights = numbers(self.parts.step.evaluated());
        let same = || weights.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        if measured {
            let score = self.parts.select.eval(|name| values.get(name).copied()).map_err(Error::of)?;
            if self.position.best.offer(epoch, score) && is_first {
                if let Some(mask) = self.parts.step.attack.learner() {
                    let mask = numbers(mask.network());
                    files.push(self.folder.draft_of_model(self.folder.best_mask(), mask, &self.card)?);
                }
                files.push(self.folder.draft_of_model(self.folder.best(), same(), &self.card)?);
                files.extend(self.drafts_of_averages(Folder::best_average)?);
            }
        }
        let means = values.iter().filter_map(|(name, value)| Some((name.strip_prefix("train_")?.to_string(), *value)));
        let means = means.collect();
        let remark = self.parts.step.attack.learning().and_then(|learning| learning.remark(&means));
        if let Some(remark) = remark.as_ref().filter(|_| is_first && remark != self.remark) {
            tracing::warn!("epoch {epoch}: {remark}");
        }
        self.remark = remark;
        let rows = self.curves.as_ref().map(|curves| curves.metrics.rows());
        if let Some(warning) = rows.and_then(|rows| collapse::warning(rows, &values, &self.watched())) {
            tracing::warn!("epoch {epoch}: {warning}");
        }
        let fields = serde_json::to_string(&values).unwrap_or_default();
        tracing::info!(epoch, seconds = total.as_secs_f64(), metrics = fields, "Epoch finished.");
        let mut curves: Vec<(String, f64)> = values.iter().map(|(name, value)| (tag(name), *value)).collect();
        curves.push(("time/train_seconds".into(), trained.as_secs_f64()));
        curves.push(("time/epoch_seconds".into(), total.as_secs_f64()));
        let curves: Vec<(&str, f64)> = curves.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        if let Some(Curves { metrics, events }) = &mut self.curves {
            events.scalars(step, &curves).at("writing", self.folder.path())?;
            metrics.append(Row { epoch, step, values }).at("writing", self.folder.path())?;
            files.push(self.folder.draft_of_model(self.folder.last(), same(), &self.card)?);
        }
        if is_first {
            files.extend(self.drafts_of_averages(Folder::last_average)?);
        }
        self.epoch_sums = EpochSums::new(self.device);
        (self.position.epoch, self.position.step) = (epoch, 0);
        self.save(files, Place { epoch: epoch - 1, step: steps })
    }

    /// The files of the averages that are saved beside the model, which nothing has measured.
    fn drafts_of_averages(&self, path: fn(&Folder, &str) -> PathBuf) -> Result<Vec<TensorFile>> {
        let card = ModelCard { metrics: Values::new(), ..self.card.clone() };
        let draft = |(name, average): (&String, &Averaged)| {
            let weights = kept(&average.network().params().state_dict());
            self.folder.draft_of_model(path(&self.folder, name), weights, &card)
        };
        self.parts.step.averages.further.iter().map(draft).collect()
    }

    /// Saves everything that resuming needs.
    pub(super) fn save_state(&mut self) -> Result<()> {
        let Position { epoch, step, .. } = self.position;
        self.save(Vec::new(), Place { epoch, step })
    }

    /// Starts writing `files` and then everything that resuming from `place` needs.
    fn save(&mut self, mut files: Vec<TensorFile>, place: Place) -> Result<()> {
        self.settle()?;
        self.epoch_sums.merge(self.world)?;
        let (sums, images) = self.epoch_sums.state();
        self.position.tallied = images;
        if let Some(Curves { metrics: log, .. }) = &self.curves {
            self.position.metrics = metrics::digest(log.rows(), self.position.epoch).map_err(Error::of)?;
        }
        if !self.world.is_first() {
            self.saved = true;
            return Ok(());
        }
        let mut state = state(&self.parts);
        state.extend(sums.into_iter().map(|(name, sum)| (format!("epoch_sums.{name}"), sum)));
        files.push(self.folder.draft_of_state(kept(&state), &self.position)?);
        self.writer.write(files, self.folder.path(), place)
    }

    /// Waits until the last save is on disk. If it failed, the error reports the run's position at
    /// that save.
    pub(super) fn settle(&mut self) -> Result<()> {
        let Some((place, written)) = self.writer.wait() else { return Ok(()) };
        match &written {
            Ok(()) => self.saved = true,
            Err(_) => (self.position.epoch, self.position.step) = (place.epoch, place.step),
        }
        written
    }
}
