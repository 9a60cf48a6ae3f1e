//! A plugin's part of a config, type-erased: it can be read, written back and built without knowing the plugin.

use super::{FilePath, Kind, Slots, article, find};
use crate::distributed::World;
use crate::engine::{JudgePrecision, Network, Precision, guard};
use crate::model::Model;
use crate::nn::{Builder, key_of, name_key};
use crate::objective::Objective;
use crate::optim::Optimizer;
use crate::plugin::Held;
use crate::scheduler::Scheduler;
use crate::{Error, Result};
use foil_config::Problem;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use tch::{Device, Kind as Number};

/// A plugin's settings, which can build what they describe.
///
/// A loss, objective or scheduler usually is its own settings; then there is nothing to write.
pub trait Config<T: ?Sized>: erased_serde::Serialize + fmt::Debug + Send + Sync {
    /// Builds it. What is wrong with a key is reported with [`Build::problem`], as often as needed.
    ///
    /// # Errors
    /// What is wrong with the whole.
    fn build(&self, cx: &Build) -> Result<Box<T>>;
}

macro_rules! is_its_own_config {
    ($($trait:path),*) => {
        $(impl<C: $trait + Clone + Serialize + fmt::Debug + Send + Sync + 'static> Config<dyn $trait> for C {
            fn build(&self, _: &Build) -> Result<Box<dyn $trait>> {
                Ok(Box::new(self.clone()))
            }
        })*
    };
}
is_its_own_config!(crate::loss::Loss, crate::objective::Objective);

impl<C: Scheduler + Clone + Serialize + fmt::Debug + 'static> Config<dyn Scheduler> for C {
    fn build(&self, cx: &Build) -> Result<Box<dyn Scheduler>> {
        self.check(cx);
        Ok(Box::new(self.clone()))
    }
}

/// What is known of the data when a plugin is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataFacts {
    /// Colour channels, 1 or 3.
    pub channels: i64,
    /// Image height in pixels.
    pub height: i64,
    /// Image width in pixels.
    pub width: i64,
    /// Number of classes.
    pub classes: i64,
    /// Number of training images, held-out ones included: every index of a training batch lies below it.
    pub train: i64,
}

/// What a plugin is built with; also collects what is wrong with its settings.
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
    arithmetic: (Precision, JudgePrecision),
    world: World,
    sync: bool,
    optimizer: Option<&'a Component<dyn Optimizer>>,
}

impl<'a> Build<'a> {
    /// The context of a whole pipeline; `problems` receives what is found.
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
            arithmetic: (Precision::Fp32, JudgePrecision::Fp32),
            world: World::alone(),
            sync: false,
            optimizer: None,
        }
    }

    /// With `dry` networks are laid out but not initialised: enough to check a pipeline.
    #[must_use]
    pub fn dry(self, dry: bool) -> Self {
        Self { dry, ..self }
    }

    /// Sets the networks' arithmetic in training and when they are judged; fp32 otherwise.
    #[must_use]
    pub fn computing(self, training: Precision, judging: JudgePrecision) -> Self {
        Self { arithmetic: (training, judging), ..self }
    }

    /// The networks' arithmetic in training.
    pub fn precision(&self) -> Precision {
        self.arithmetic.0
    }

    /// Files are named from `folder`.
    #[must_use]
    pub fn within(self, folder: &'a Path) -> Self {
        Self { folder, ..self }
    }

    /// Where a file of the settings is.
    pub fn file(&self, file: &FilePath) -> PathBuf {
        file.within(self.folder)
    }

    /// Networks are replicas that the ranks of `world` train together; with `sync` their batch norms see the images of all ranks.
    #[must_use]
    pub fn across(self, world: World, sync: bool) -> Self {
        Self { world, sync, ..self }
    }

    /// The optimiser of the model, for networks beside it that learn in the same way.
    #[must_use]
    pub fn learning_by(self, optimizer: &'a Component<dyn Optimizer>) -> Self {
        Self { optimizer: Some(optimizer), ..self }
    }

    /// Builds the optimiser at `key`; without one, another like the model's. `None` as in [`Build::component`].
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
    /// `message` begins with a verb, since it follows the key: `is 8, but images are scaled to [0, 1]` becomes
    /// `` `attack.eps` is 8, but images are scaled to [0, 1] ``.
    pub fn problem(&self, key: &str, message: impl std::fmt::Display, help: impl Into<String>) {
        let path = self.at(key).path;
        let message = format!("`{path}` {message}");
        self.problems.borrow_mut().push(Problem::new(path, message, help));
    }

    /// Whether anything was reported.
    pub fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// Where a model declares its parameters.
    ///
    /// # Panics
    /// When what is built is not a model: only [`Build::network`] provides one.
    pub fn builder(&self) -> &Builder {
        self.declaring.expect("models are built through `Build::network`").0
    }

    /// Channels of a model's input: the images', or more for a mask network that sees two images.
    pub fn inputs(&self) -> i64 {
        self.declaring.map_or(self.data.channels, |(_, channels)| channels)
    }

    /// Builds the model at `key` with its initial parameters; `None` as in [`Build::component`].
    pub fn network(&self, key: &str, model: &Component<dyn Model>, inputs: i64) -> Option<Network> {
        let builder = Builder::default();
        let model = Build { declaring: Some((&builder, inputs)), ..self.at("") }.component(key, model)?;
        let seed = key_of(&[self.seed, name_key(key)]) as u64;
        let seed = (!self.dry).then_some(seed);
        let (training, judging) = self.arithmetic;
        let network = Network::new(model, builder, seed, self.kind, self.device).computing(training, judging);
        Some(network.across(self.world, self.sync))
    }

    /// Builds the objective at `key`, and reports one that needs more classes than the data have.
    ///
    /// # Errors
    /// When it cannot be built; why is reported at `key`.
    pub fn objective(&self, key: &str, component: &Component<dyn Objective>) -> Result<Box<dyn Objective>> {
        let objective =
            self.component(key, component).ok_or_else(|| Error::new(format!("its `{key}` cannot be built")))?;
        let (least, classes) = (objective.least_classes(), self.data.classes);
        if classes < least {
            self.problem(key, format!("needs {least} classes, the data have {classes}"), "choose another objective");
        }
        Ok(objective)
    }

    /// Builds the component at `key`; an error is reported there and gives `None`, so that the rest is checked too.
    pub fn component<T: Kind + ?Sized>(&self, key: &str, component: &Component<T>) -> Option<Box<T>> {
        let before = self.problems.borrow().len();
        match component.config.build(&self.at(key)) {
            Ok(built) => Some(T::held(built.named(component.name))),
            Err(error) => {
                // When a part of it has said what is wrong, that the whole cannot be built is no news.
                if self.problems.borrow().len() == before {
                    let help = error.suggestion().unwrap_or_default();
                    self.problem(key, format_args!("cannot be built: {}", error.message()), help);
                }
                None
            }
        }
    }
}

/// A plugin's settings as they cross from one copy of the framework to another: nothing but std's types and foil's, and no panics.
#[doc(hidden)]
pub trait Settings<T: Kind + ?Sized>: Send + Sync {
    /// Builds what they describe.
    ///
    /// # Errors
    /// As [`Config::build`], or its panic.
    fn build(&self, cx: &Build) -> Result<Held<T>>;

    /// As YAML, without `type`.
    ///
    /// # Errors
    /// When they have no YAML form.
    fn to_yaml(&self) -> Result<String>;

    /// For developers.
    fn describe(&self) -> String;
}

/// Settings of the copy of the framework in which they were read.
struct Own<C>(C);

impl<T: Kind + ?Sized, C: Config<T>> Settings<T> for Own<C> {
    fn build(&self, cx: &Build) -> Result<Held<T>> {
        guard(|| self.0.build(cx).map(Held::new))
    }

    fn to_yaml(&self) -> Result<String> {
        struct Erased<'a, C>(&'a C);
        impl<C: erased_serde::Serialize> Serialize for Erased<'_, C> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                erased_serde::serialize(self.0, serializer)
            }
        }
        guard(|| serde_yaml::to_string(&Erased(&self.0)).map_err(|error| Error::new(error.to_string())))
    }

    fn describe(&self) -> String {
        guard(|| Ok(format!("{:?}", self.0))).unwrap_or_else(|error| error.to_string())
    }
}

/// The schema of a config, as JSON.
pub(super) fn schema<C: schemars::JsonSchema>() -> Result<String> {
    guard(|| Ok(schemars::schema_for!(C).to_value().to_string()))
}

/// Reads settings from YAML, and puts them where their kind is asked for.
pub(super) fn parse<T: Kind + ?Sized, C: Config<T> + DeserializeOwned + 'static>(yaml: &str) -> Result<Slots> {
    guard(|| {
        // By way of a value, whose errors do not count the lines of a text that the user never saw.
        let value: serde_yaml::Value = serde_yaml::from_str(yaml).map_err(|error| Error::new(error.to_string()))?;
        let config: C = serde_yaml::from_value(value).map_err(|error| Error::new(error.to_string()))?;
        let mut slots = Slots::default();
        *T::slot(&mut slots) = Some(Box::new(Own(config)));
        Ok(slots)
    })
}

/// A plugin chosen in a config: `{ type: NAME, … }`, or just `NAME`.
pub struct Component<T: Kind + ?Sized> {
    name: &'static str,
    config: Box<dyn Settings<T>>,
}

impl<T: Kind + ?Sized> Component<T> {
    /// Its name in configs.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Builds it outside a pipeline, for what needs no context, such as a scheduler.
    ///
    /// # Errors
    /// What is wrong with its settings.
    pub fn build_alone(&self) -> Result<Box<T>> {
        self.build_at("").map_err(|problems| match problems.into_iter().next() {
            Some(Problem { message, help, .. }) => Error::new(message).help(help.unwrap_or_default()),
            None => Error::new(format!("`{}` cannot be built", self.name)),
        })
    }

    /// The same, with everything that is wrong with the settings at `path`.
    pub(super) fn build_at(&self, path: &str) -> Result<Box<T>, Vec<Problem>> {
        let problems = RefCell::default();
        let nothing = DataFacts { channels: 0, height: 0, width: 0, classes: 0, train: 0 };
        let built = Build::new(nothing, 0, Number::Float, Device::Cpu, &problems).component(path, self);
        match (built, problems.into_inner()) {
            (Some(built), problems) if problems.is_empty() => Ok(built),
            (_, problems) => Err(problems),
        }
    }

    /// The component called `name` with every key at its default.
    ///
    /// # Errors
    /// When there is no such plugin, or one of its keys has no default.
    pub fn named(name: &str) -> Result<Self> {
        serde_yaml::from_value(serde_yaml::Value::from(name)).map_err(|e| Error::new(e.to_string()))
    }
}

impl<T: Kind + ?Sized> fmt::Debug for Component<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.config.describe())
    }
}

impl<T: Kind + ?Sized> Clone for Component<T> {
    /// Through its own YAML, since the settings' type is not known here.
    fn clone(&self) -> Self {
        serde_yaml::to_value(self).and_then(serde_yaml::from_value).expect("a config that was read can be read again")
    }
}

impl<T: Kind + ?Sized> Serialize for Component<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let yaml = self.config.to_yaml().map_err(|error| serde::ser::Error::custom(error.message()))?;
        let settings: serde_yaml::Value = serde_yaml::from_str(&yaml).map_err(serde::ser::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.name)?;
        for (key, value) in settings.as_mapping().into_iter().flatten() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, T: Kind + ?Sized> Deserialize<'de> for Component<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde_yaml::{Mapping, Value};
        let (name, settings) = match Value::deserialize(deserializer)? {
            Value::String(name) => (name, Mapping::new()),
            Value::Mapping(mut map) => match map.remove("type") {
                Some(Value::String(name)) => (name, map),
                _ => return Err(D::Error::custom(format!("expected `type:` with the name of the {}", T::NAME))),
            },
            other => {
                return Err(D::Error::custom(format!("expected {} {}, found {other:?}", article(T::NAME), T::NAME)));
            }
        };
        let entry = find(T::NAME, &name).map_err(|e| D::Error::custom(e.message().to_string()))?;
        let yaml = serde_yaml::to_string(&settings).map_err(D::Error::custom)?;
        let parsed = (entry.parse)(&yaml);
        let mut slots = parsed.map_err(|e| D::Error::custom(format!("{} `{name}`: {}", T::NAME, e.message())))?;
        let config = T::slot(&mut slots).take();
        let config =
            config.ok_or_else(|| D::Error::custom(format!("`{name}` is not {} {}", article(T::NAME), T::NAME)))?;
        Ok(Self { name: entry.name, config })
    }
}

impl<T: Kind + ?Sized> schemars::JsonSchema for Component<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Component_{}", T::NAME).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "x-component": T::NAME })
    }
}
