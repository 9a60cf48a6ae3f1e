//! The context in which plugins are built.

use super::{Component, DataPath, FilePath, Kind, reading_in};
use crate::distributed::World;
use crate::engine::{EvalPrecision, Network, Precision};
use crate::model::Model;
use crate::nn::{Builder, key_of, name_key};
use crate::objective::Objective;
use crate::optim::Optimizer;
use crate::{Error, Result};
use foil_config::Problem;
use foil_data::Facts;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use tch::{Device, Kind as Number};

/// Facts about the data that are known when a plugin is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataFacts {
    /// Channels: 1 for grey, 3 for colour, 4 with transparency.
    pub channels: i64,
    /// Image height in pixels.
    pub height: i64,
    /// Image width in pixels.
    pub width: i64,
    /// Number of classes.
    pub classes: i64,
    /// Number of training images, including held-out ones: every index of a training batch is
    /// below it.
    pub train: i64,
}

impl From<&Facts> for DataFacts {
    fn from(facts: &Facts) -> Self {
        let [channels, height, width] = facts.image.map(|n| n as i64);
        Self { channels, height, width, classes: facts.classes() as i64, train: facts.counts.train as i64 }
    }
}

/// The context in which a plugin is built; it also collects problems with its settings.
#[derive(Debug)]
pub struct Build<'a> {
    /// Facts about the data.
    pub data: DataFacts,
    /// The run's seed.
    pub seed: u64,
    /// The type of parameters and images.
    pub kind: Number,
    /// The run's device.
    pub device: Device,
    path: String,
    problems: &'a RefCell<Vec<Problem>>,
    declaring: Option<(&'a Builder, i64)>,
    folder: &'a Path,
    dry: bool,
    arithmetic: (Precision, EvalPrecision),
    flush_denormal: bool,
    world: World,
    sync: bool,
    optimizer: Option<&'a Component<dyn Optimizer>>,
    batch_size: i64,
}

impl<'a> Build<'a> {
    /// The context of a whole pipeline; `problems` receives the problems found.
    pub fn new(data: DataFacts, seed: u64, kind: Number, device: Device, problems: &'a RefCell<Vec<Problem>>) -> Self {
        Self {
            data,
            seed,
            kind,
            device,
            path: String::new(),
            problems,
            declaring: None,
            folder: Path::new(""),
            dry: false,
            arithmetic: (Precision::Fp32, EvalPrecision::Fp32),
            flush_denormal: true,
            world: World::alone(),
            sync: false,
            optimizer: None,
            batch_size: 0,
        }
    }

    /// Sets the number of images in a training batch, over all ranks.
    #[must_use]
    pub fn in_batches_of(self, batch_size: i64) -> Self {
        Self { batch_size, ..self }
    }

    /// The most images that a training batch has, over all ranks; 0 where nothing is trained.
    pub fn batch_size(&self) -> i64 {
        self.batch_size
    }

    /// With `dry` networks are declared but not initialised: enough to check a pipeline.
    #[must_use]
    pub fn dry(self, dry: bool) -> Self {
        Self { dry, ..self }
    }

    /// Sets the networks' precision in training and in evaluation; fp32 by default.
    #[must_use]
    pub fn computing(self, training: Precision, evaluating: EvalPrecision) -> Self {
        Self { arithmetic: (training, evaluating), ..self }
    }

    /// Sets whether the CPU flushes subnormal numbers to 0; true by default.
    #[must_use]
    pub fn flush_denormal(self, flush_denormal: bool) -> Self {
        Self { flush_denormal, ..self }
    }

    /// The networks' precision in training.
    pub fn precision(&self) -> Precision {
        self.arithmetic.0
    }

    /// Sets the folder that file names are relative to.
    #[must_use]
    pub fn within(self, folder: &'a Path) -> Self {
        Self { folder, ..self }
    }

    /// The path of a file in the settings.
    pub fn file(&self, file: &FilePath) -> PathBuf {
        file.within(self.folder)
    }

    /// Reads a part of the settings that only now is seen to be one, such as a
    /// [`Scheduled`](crate::scheduler::Scheduled); its files are relative to the same folder.
    pub fn reading<T>(&self, work: impl FnOnce() -> T) -> T {
        reading_in(self.folder, work)
    }

    /// The place of a data set in the settings.
    pub fn place(&self, path: &DataPath) -> PathBuf {
        path.within(self.folder)
    }

    /// Networks are replicas that the ranks of `world` train together; with `sync` their batch
    /// norms use the images of all ranks.
    #[must_use]
    pub fn across(self, world: World, sync: bool) -> Self {
        Self { world, sync, ..self }
    }

    /// Sets the model's optimiser, for other networks that learn in the same way.
    #[must_use]
    pub fn learning_by(self, optimizer: &'a Component<dyn Optimizer>) -> Self {
        Self { optimizer: Some(optimizer), ..self }
    }

    /// Builds the optimiser at `key`, by default one like the model's. `None` as in
    /// [`Build::component`].
    pub fn optimizer(&self, key: &str, own: Option<&Component<dyn Optimizer>>) -> Option<Box<dyn Optimizer>> {
        match (own, self.optimizer) {
            (Some(own), _) => self.component(key, own),
            (None, Some(models)) => Build { path: String::new(), ..*self }.component("optimizer", models),
            (None, None) => {
                self.problem(
                    key,
                    "is missing, and there is no pipeline to take it from",
                    "write `optimizer: { type: adam, lr: 0.001 }`",
                );
                None
            }
        }
    }

    /// The context of the value at `key`.
    pub fn at(&self, key: &str) -> Build<'a> {
        let parts: Vec<&str> = [self.path.as_str(), key].into_iter().filter(|part| !part.is_empty()).collect();
        let path = parts.join(".");
        Build { path, ..*self }
    }

    /// Reports a problem with this value's `key`, or with the value itself if `key` is empty.
    ///
    /// `message` begins with a verb, since it follows the key: `is 8, but images are scaled to [0,
    /// 1]` becomes `` `attack.eps` is 8, but images are scaled to [0, 1] ``.
    pub fn problem(&self, key: &str, message: impl std::fmt::Display, help: impl Into<String>) {
        self.problems.borrow_mut().push(self.problem_of(key, message, help));
    }

    fn problem_of(&self, key: &str, message: impl std::fmt::Display, help: impl Into<String>) -> Problem {
        let path = self.at(key).path;
        let message = format!("`{path}` {message}");
        Problem::new(path, message, help)
    }

    /// Whether anything was reported.
    pub fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// The builder in which a model declares its parameters.
    ///
    /// # Panics
    /// When what is built is not a model: only [`Build::network`] provides one.
    pub fn builder(&self) -> &Builder {
        self.declaring.expect("models are built through `Build::network`").0
    }

    /// Channels of a model's input: the images', or more for a mask network that takes two images.
    pub fn inputs(&self) -> i64 {
        self.declaring.map_or(self.data.channels, |(_, channels)| channels)
    }

    /// Builds the model at `key` with its initial parameters; `None` as in [`Build::component`].
    pub fn network(&self, key: &str, model: &Component<dyn Model>, inputs: i64) -> Option<Network> {
        let builder = Builder::default();
        let name = model.name;
        let model = Build { declaring: Some((&builder, inputs)), ..self.at("") }.component(key, model)?;
        let seed = key_of(&[self.seed, name_key(key)]) as u64;
        let seed = (!self.dry).then_some(seed);
        let (training, evaluating) = self.arithmetic;
        let network = Network::new(model, builder, seed, self.kind, self.device).called(name);
        let network = network.computing(training, evaluating);
        Some(network.flush_denormal(self.flush_denormal).across(self.world, self.sync))
    }

    /// Builds the objective at `key`, and reports it if it needs more classes than the data have.
    ///
    /// # Errors
    /// When it cannot be built; the cause is reported at `key`.
    pub fn objective(&self, key: &str, component: &Component<dyn Objective>) -> Result<Box<dyn Objective>> {
        let objective =
            self.component(key, component).ok_or_else(|| Error::new(format!("its `{key}` cannot be built")))?;
        let (least, classes) = (objective.least_classes(), self.data.classes);
        if classes < least {
            self.problem(key, format!("needs {least} classes, the data have {classes}"), "choose another objective");
        }
        Ok(objective)
    }

    /// Builds the component at `key`; an error is reported there and gives `None`, so that the rest
    /// is checked too.
    pub fn component<T: Kind + ?Sized>(&self, key: &str, component: &Component<T>) -> Option<Box<T>> {
        let before = self.problems.borrow().len();
        match component.config.build(&self.at(key)) {
            Ok(built) => Some(T::held(built.named(component.name))),
            Err(error) => {
                // If a part of it has reported a problem, that the whole cannot be built adds
                // nothing.
                if self.problems.borrow().len() == before {
                    let help = error.suggestion().unwrap_or_default();
                    let problem = self.problem_of(key, format_args!("cannot be built: {}", error.message()), help);
                    self.problems.borrow_mut().push(Problem { building: true, ..problem });
                }
                None
            }
        }
    }
}
