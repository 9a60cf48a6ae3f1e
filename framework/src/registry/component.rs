//! A plugin's part of a config, type-erased: it can be read, written and built without knowing the
//! plugin's type.

use super::reading::{folder, reading_in};
use super::{Build, DataFacts, Kind, Slots, article, find, foreign};
use crate::augment::Augment;
use crate::guard;
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

/// A plugin's settings, which can build the plugin.
///
/// A loss, objective, scheduler or augmentation usually is its own settings; then there is nothing
/// to implement.
pub trait Config<T: ?Sized>: erased_serde::Serialize + fmt::Debug + Send + Sync {
    /// Builds the plugin. Report problems with keys through [`Build::problem`], as many as there
    /// are.
    ///
    /// # Errors
    /// A problem with the settings as a whole.
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

impl<C: Augment + Clone + Serialize + fmt::Debug + Send + Sync + 'static> Config<dyn Augment> for C {
    fn build(&self, cx: &Build) -> Result<Box<dyn Augment>> {
        self.check(cx);
        Ok(Box::new(self.clone()))
    }
}

impl<C: Scheduler + Clone + Serialize + fmt::Debug + 'static> Config<dyn Scheduler> for C {
    fn build(&self, cx: &Build) -> Result<Box<dyn Scheduler>> {
        self.check(cx);
        Ok(Box::new(self.clone()))
    }
}

/// A plugin's settings as they cross from one copy of the framework to another: only types of std
/// and foil, and no panics.
#[doc(hidden)]
pub trait Settings<T: Kind + ?Sized>: Send + Sync {
    /// Builds the plugin.
    ///
    /// # Errors
    /// As [`Config::build`], or its panic.
    fn build(&self, cx: &Build) -> Result<Held<T>>;

    /// As YAML, without `type`.
    ///
    /// # Errors
    /// When they have no YAML form.
    fn to_yaml(&self) -> Result<String>;

    /// The `Debug` form.
    fn describe(&self) -> String;
}

/// Settings in the copy of the framework that read them.
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
        guard(|| serde_yaml::to_string(&Erased(&self.0)).map_err(Error::of))
    }

    fn describe(&self) -> String {
        guard(|| Ok(format!("{:?}", self.0))).unwrap_or_else(|error| error.to_string())
    }
}

/// The schema of a config, as JSON.
pub(super) fn schema<C: schemars::JsonSchema>() -> Result<String> {
    guard(|| Ok(schemars::schema_for!(C).to_value().to_string()))
}

/// Reads settings from YAML into the slot of their kind; `folder` is the pipeline's.
pub(super) fn parse<T: Kind + ?Sized, C: Config<T> + DeserializeOwned + 'static>(
    yaml: &str,
    folder: &Path,
) -> Result<Slots> {
    guard(|| {
        // Through a value, whose errors do not refer to lines of a text that the user never saw.
        let value: serde_yaml::Value = serde_yaml::from_str(yaml).map_err(Error::of)?;
        let config: C = reading_in(folder, || serde_yaml::from_value(value)).map_err(Error::of)?;
        let mut slots = Slots::default();
        *T::slot(&mut slots) = Some(Box::new(Own(config)));
        Ok(slots)
    })
}

/// A plugin chosen in a config: `{ type: NAME, … }`, or just `NAME`.
pub struct Component<T: Kind + ?Sized> {
    pub(super) name: &'static str,
    pub(super) config: Box<dyn Settings<T>>,
    /// The folder of the pipeline that it was read in.
    folder: PathBuf,
}

impl<T: Kind + ?Sized> Component<T> {
    /// Its name in configs.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Builds it outside a pipeline, for plugins that need no context, such as schedulers. Paths in
    /// its settings are relative to the folder of the pipeline that it was read in.
    ///
    /// # Errors
    /// The problems of its settings.
    pub fn build_alone(&self) -> Result<Box<T>> {
        self.build_within(&self.folder)
    }

    /// The same, with paths in its settings relative to `folder`.
    ///
    /// # Errors
    /// As [`Component::build_alone`].
    pub fn build_within(&self, folder: &Path) -> Result<Box<T>> {
        self.built("", folder).map_err(|problems| self.first(problems))
    }

    /// As [`Component::build_alone`], returning all problems of the settings at `path`.
    pub fn build_at(&self, path: &str) -> Result<Box<T>, Vec<Problem>> {
        self.built(path, &self.folder)
    }

    fn built(&self, path: &str, folder: &Path) -> Result<Box<T>, Vec<Problem>> {
        let problems = RefCell::default();
        let nothing = DataFacts { channels: 0, height: 0, width: 0, classes: 0, train: 0 };
        let cx = Build::new(nothing, 0, Number::Float, Device::Cpu, &problems).within(folder);
        let built = cx.component(path, self);
        match (built, problems.into_inner()) {
            (Some(built), problems) if problems.is_empty() => Ok(built),
            (_, problems) => Err(problems),
        }
    }

    fn first(&self, problems: Vec<Problem>) -> Error {
        match problems.into_iter().next() {
            Some(Problem { message, help, .. }) => Error::new(message).help(help.unwrap_or_default()),
            None => Error::new(format!("`{}` cannot be built", self.name)),
        }
    }

    /// The component called `name` with every key at its default.
    ///
    /// # Errors
    /// When there is no such plugin, or one of its keys has no default.
    pub fn named(name: &str) -> Result<Self> {
        serde_yaml::from_value(serde_yaml::Value::from(name)).map_err(Error::of)
    }
}

impl<T: Kind + ?Sized> fmt::Debug for Component<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.config.describe())
    }
}

impl<T: Kind + ?Sized> Clone for Component<T> {
    /// Clones through YAML, since the settings' type is not known here.
    fn clone(&self) -> Self {
        let copy = || serde_yaml::to_value(self).and_then(serde_yaml::from_value);
        reading_in(&self.folder, || foreign::admitting(copy)).expect("a config that was read can be read again")
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
                _ => return Err(D::Error::custom(format!("expected `type:` with the name of {}", article(T::NAME)))),
            },
            other => {
                return Err(D::Error::custom(format!("expected {}, found {other:?}", article(T::NAME))));
            }
        };
        let yaml = serde_yaml::to_string(&settings).map_err(D::Error::custom)?;
        let folder = folder();
        let foreign = |fault| Self {
            name: foreign::lasting(&name),
            config: Box::new(foreign::Foreign { yaml: yaml.clone(), fault }),
            folder: folder.clone(),
        };
        let entry = match find(T::NAME, &name) {
            Err(_) if foreign::is_admitted() => return Ok(foreign(None)),
            found => found.map_err(|e| D::Error::custom(e.message().to_string()))?,
        };
        let mut slots = match (entry.parse)(&yaml, &folder) {
            Err(e) if foreign::is_admitted() => return Ok(foreign(Some(e.message().to_string()))),
            parsed => parsed.map_err(|e| D::Error::custom(format!("{} `{name}`: {}", T::NAME, e.message())))?,
        };
        let config = T::slot(&mut slots).take();
        let config = config.ok_or_else(|| D::Error::custom(format!("`{name}` is not {}", article(T::NAME))))?;
        Ok(Self { name: entry.name, config, folder })
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
