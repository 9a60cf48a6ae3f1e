//! The epoch loop.
//!
//! All randomness is a function of the seed, the epoch and the image, and everything that changes
//! is in the state file. So a run that was killed anywhere and resumed ends with the same bits as
//! one that was not (on the CPU).

mod after_epoch;
mod averaging;
mod epoch;
mod health;
mod logging;
mod start_or_resume;

use super::describe::card;
use super::epoch_sums::EpochSums;
use super::feed::Feed;
use super::folder::{Folder, Lock, Position};
use super::heartbeat::Heartbeat;
use super::observer::Observer;
use super::ranks;
use super::writer::BackgroundWriter;
use crate::pipeline::{Assembled, Pipeline, assemble_across, mixes};
use crate::record::{ModelCard, stamp};
use foil::data::{Dataset, Images, Resident};
use foil::distributed::{Vote, World};
use foil::engine::{Outcome, Repeated};
use foil::guard;
use foil::scheduler::Clock;
use foil::{AtPath, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use start_or_resume::{Curves, start_or_resume};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tch::{Device, Kind, Tensor};

/// A run that trains.
#[derive(Debug)]
pub struct Trainer {
    pipeline: Pipeline,
    parts: Assembled,
    train: Feed,
    eval_images: Resident,
    clock: Clock,
    folder: Folder,
    /// The curves; only the first rank writes.
    curves: Option<Curves>,
    world: World,
    vote: Vote,
    position: Position,
    /// Whether a state was saved, which the other ranks may not see.
    saved: bool,
    /// The checkpoint that is being written.
    writer: BackgroundWriter<Place>,
    epoch_sums: EpochSums,
    /// The attack's last remark.
    remark: Option<String>,
    card: ModelCard,
    device: Device,
    heartbeat: Option<Heartbeat>,
    /// The key of the epoch's random numbers, `[]` int64 on the device.
    key: Tensor,
    /// A step's outcome, and the labels of its images.
    steps: Repeated<(Outcome, Tensor)>,
    /// Held as long as this run may write to its folder.
    _lock: Option<Lock>,
}

/// A step of an epoch.
#[derive(Debug, Clone, Copy)]
struct Place {
    epoch: u64,
    step: u64,
}

/// The help for `init`.
const BEGINNING: &str =
    "it takes a checkpoint of the same model, such as runs/at/best.safetensors; `foil import` makes one of PyTorch's";

/// How a call of [`Trainer::run`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are done.
    Finished,
    /// It was asked to stop; the state is saved.
    Stopped,
}

impl Trainer {
    /// Prepares a run in `folder`, which `lock` keeps for it, on `data` and the `extra` images that
    /// the pipeline mixes in: builds everything, and resumes from the saved state if there is one.
    /// With several ranks the first one has the lock, and is the only one that reads and writes the
    /// folder.
    ///
    /// # Errors
    /// What is wrong with the pipeline, the data or the saved state.
    pub fn new(
        pipeline: Pipeline,
        parts: Assembled,
        (data, extra): (Dataset, Option<Images>),
        folder: Folder,
        lock: Option<Lock>,
        device: Device,
        world: World,
    ) -> Result<Self> {
        let (feed, held) = Feed::of(&pipeline, &data.train, extra, device)?;
        let test = || {
            let limit = pipeline.images.test_limit.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX));
            Resident::new(&data.test, device).map(|test| test.first(limit))
        };
        let eval_images = held.map_or_else(test, Ok)?;
        let resolved = pipeline.to_yaml()?;
        let steps = pipeline.train.steps(feed.base().len() as u64);
        let clock = Clock::new(pipeline.train.epochs, steps, device);
        let card = card(&pipeline, &parts, &data, &resolved, world);
        let config = stamp::config_hash(&resolved);
        let (state, epoch_sums, curves) = match &lock {
            Some(_) => {
                let (position, epoch_sums, curves) = start_or_resume(&folder, &parts, config, steps, device)?;
                ((position, folder.state().exists()), epoch_sums, Some(curves))
            }
            None => (Default::default(), EpochSums::new(device), None),
        };
        let (position, saved) = as_first(world, state, &folder)?;
        // Initial weights too: different processors may disagree on the last bit of a logarithm.
        ranks::follow(world, &parts)?;
        let key = Tensor::zeros([] as [i64; 0], (Kind::Int64, device));
        let against = world.against_capture(device)?.or_else(|| parts.step.against_capture());
        let augmentation = || parts.augment.against_capture();
        let unsupported = |name| format!("the augmentation `{name}` does not support it");
        let against = against.or_else(|| augmentation().map(unsupported));
        let repeated = Repeated::new(pipeline.train.capture, device, against)?.across(world)?;
        // A beat reads the loss, which is free on the CPU but elsewhere waits for the device.
        let seconds = if device == Device::Cpu { 1 } else { 10 };
        let heartbeat = world.is_first().then(|| Heartbeat::new(&folder, Duration::from_secs(seconds)));
        let vote = Vote::default();
        let mut trainer = Self {
            heartbeat,
            pipeline,
            parts,
            train: feed,
            eval_images,
            clock,
            folder,
            curves,
            world,
            vote,
            position,
            saved,
            writer: BackgroundWriter::idle(),
            epoch_sums,
            remark: None,
            card,
            device,
            key,
            steps: repeated,
            _lock: lock,
        };
        trainer.log_start()?;
        Ok(trainer)
    }

    /// Builds the parts of `pipeline` on its device, as one rank of `world`, with the model's
    /// initial weights.
    ///
    /// # Errors
    /// The problems of the pipeline, by key path.
    pub fn assemble(pipeline: &Pipeline, device: Device, world: World) -> Result<Assembled, Vec<foil_config::Problem>> {
        let parts = assemble_across(world, pipeline, Kind::Float, device, false)?.trainable()?;
        mixes(pipeline, parts.step.attack.as_ref(), parts.step.loss.as_ref())?;
        if let Some(path) = pipeline.begins_with() {
            parts.step.model.network().read(&path).map_err(|error| {
                vec![foil_config::Problem::new("init", format!("`init`: {}", error.message()), BEGINNING)]
            })?;
        }
        parts.step.begin_averages();
        Ok(parts)
    }

    /// Epochs done before this call.
    pub fn epochs_done(&self) -> u64 {
        self.position.epoch
    }

    /// Steps of the next epoch that were done before this call.
    pub fn steps_done(&self) -> u64 {
        self.position.step
    }

    /// The number of the model's trainable values.
    pub fn parameters(&self) -> i64 {
        self.parts.step.model.network().params().count()
    }

    /// Trains until the epochs are done or `stop` is set, then saves the state. `observer`
    /// follows; with several ranks, the first one's.
    ///
    /// # Errors
    /// A loss that is not finite, what a plugin reports, or a file that cannot be written; the
    /// last checkpoint is intact.
    pub fn run(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Ended> {
        // Panics in a plugin's callbacks outside of a step are reported like a step's errors.
        guard(|| self.epochs(observer, stop)).map_err(|error| {
            if let Some((_, Ok(()))) = self.writer.wait() {
                self.saved = true;
            }
            if self.world.is_joined() && self.world.is_explained() { error } else { self.here(error) }
        })
    }

    fn epochs(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Ended> {
        let mut ended = Ended::Finished;
        while ended == Ended::Finished && self.position.epoch < self.pipeline.train.epochs {
            if !self.epoch(observer, stop)? {
                self.sound()?;
                self.save_state()?;
                ended = Ended::Stopped;
            }
        }
        self.settle()?;
        if ended == Ended::Finished {
            self.log_end()?;
        }
        Ok(ended)
    }

    /// The epoch of the run's best checkpoint, and its score by the selection rule.
    pub fn best(&self) -> Option<(u64, f64)> {
        self.position.best.held.map(|held| (held.epoch, held.score))
    }
}

/// The first rank's `value`: the others do not read the folder.
fn as_first<T: Serialize + DeserializeOwned>(world: World, value: T, folder: &Folder) -> Result<T> {
    if !world.is_joined() {
        return Ok(value);
    }
    let text = serde_json::to_string(&value).at("sending", &folder.state())?;
    serde_json::from_str(&world.first_says(&text)?).at("reading", &folder.state())
}
