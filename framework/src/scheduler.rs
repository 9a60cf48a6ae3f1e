//! The scheduler trait, and numbers that follow one.
//!
//! A scheduler is a number as a function of progress. The learning rate is one use; FAT's tau, a
//! radius that grows or a beta that ramps up are others: every config key of type [`Scheduled`]
//! takes a plain number or a scheduler. A loss or an attack reads it with [`Scheduled::at`] as a
//! device scalar, which the [`Clock`] refreshes between steps, so that a captured step sees the new
//! value.

use crate::plugin::{Held, shared};
use crate::registry::{Build, Component, Kind as _, find, is_admitted};
use crate::{Error, Result, raise};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use tch::{Device, Kind, Tensor};

/// A run's progress.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Step within the epoch, from 0.
    pub step: u64,
    /// Steps in an epoch.
    pub steps_per_epoch: u64,
    /// Epochs in the run.
    pub epochs: u64,
}

impl Progress {
    /// Epochs done before this step, with fraction: `epoch + step / steps_per_epoch`.
    pub fn epochs_done(&self) -> f64 {
        self.epoch as f64 + self.step as f64 / self.steps_per_epoch as f64
    }
}

/// A number as a function of progress.
///
/// The contract: pure, cheap (called on the host once a step), finite for every progress within the
/// run.
pub trait Scheduler: Send + Sync {
    /// The number at this point of the run.
    fn value(&self, progress: &Progress) -> f64;

    /// Reports problems with its settings that ranges cannot express; called when a pipeline is
    /// checked.
    fn check(&self, cx: &Build) {
        let _ = cx;
    }
}

/// A config value that is a number (`0.1`, `8/255`) or follows a scheduler (`{ type: multistep, …
/// }`).
#[derive(Clone)]
pub struct Scheduled {
    number: Number,
    id: u64,
}

#[derive(Clone)]
enum Number {
    Constant(f64),
    Follows(Arc<Followed>),
}

/// A scheduler and its settings.
struct Followed {
    component: Component<dyn Scheduler>,
    /// In a `Held`, because the clock that calls it may belong to another copy of the framework.
    built: OnceLock<Result<Held<dyn Scheduler>>>,
}

impl Followed {
    fn scheduler(&self) -> Result<&Held<dyn Scheduler>> {
        let built = || Ok(Held::new(self.component.build_alone()?).named(self.component.name()));
        self.built.get_or_init(built).as_ref().map_err(|error| {
            let wrong = format!("scheduler `{}`: {}", self.component.name(), error.message());
            Error::new(wrong).help(error.suggestion().unwrap_or_default())
        })
    }
}

impl std::fmt::Debug for Scheduled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.number {
            Number::Constant(value) => write!(f, "{value}"),
            Number::Follows(followed) => followed.component.fmt(f),
        }
    }
}

impl From<f64> for Scheduled {
    fn from(value: f64) -> Self {
        Self::new(Number::Constant(value))
    }
}

impl Scheduled {
    fn new(number: Number) -> Self {
        Self { number, id: shared().numbers.fetch_add(1, Ordering::Relaxed) }
    }

    /// The number, if it is constant.
    pub fn constant(&self) -> Option<f64> {
        match self.number {
            Number::Constant(value) => Some(value),
            Number::Follows(..) => None,
        }
    }

    /// The number at some progress.
    pub fn value(&self, progress: &Progress) -> f64 {
        match &self.number {
            Number::Constant(value) => *value,
            Number::Follows(followed) => raise(followed.scheduler()).value(progress),
        }
    }

    /// The number now, as a `[]` double on the run's device; it multiplies tensors of any kind
    /// without changing their kind.
    pub fn at(&self, clock: &Clock) -> Tensor {
        clock.read(self)
    }
}

impl Serialize for Scheduled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.number {
            Number::Constant(value) => match as_255ths(*value) {
                Some(text) => serializer.serialize_str(&text),
                None => serializer.serialize_f64(*value),
            },
            Number::Follows(followed) => followed.component.serialize(serializer),
        }
    }
}

/// `8/255` if that is exactly the number and shorter, so that a resolved config reads like the
/// original.
fn as_255ths(value: f64) -> Option<String> {
    let n = (value * 255.0).round();
    let longer = format!("{value}").len() > 6;
    (longer && (1.0..=64.0).contains(&n.abs()) && n / 255.0 == value).then(|| format!("{n}/255"))
}

impl<'de> Deserialize<'de> for Scheduled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let value = serde_yaml::Value::deserialize(deserializer)?;
        match value.as_f64().or_else(|| value.as_str().and_then(foil_config::fraction)) {
            Some(number) => Ok(Self::new(Number::Constant(number))),
            None => {
                let component: Component<dyn Scheduler> = serde_yaml::from_value(value).map_err(D::Error::custom)?;
                // A program in a file is not run where a pipeline is only looked at, which may be
                // from anyone, or compared, where the file is replaced by its content's hash.
                let kind = <dyn Scheduler>::NAME;
                let waits = is_admitted() && find(kind, component.name()).is_ok_and(|plugin| plugin.is_keyed());
                let followed = Followed { component, built: OnceLock::new() };
                if !waits {
                    // The pipeline's checker has built it before and reported any problems with
                    // their place.
                    followed.scheduler().map_err(|error| D::Error::custom(error.message()))?;
                }
                Ok(Self::new(Number::Follows(Arc::new(followed))))
            }
        }
    }
}

impl schemars::JsonSchema for Scheduled {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scheduled".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "number" }, { "x-component": "scheduler" }] })
    }
}

/// The run's progress, and the device scalars that follow it.
#[derive(Debug)]
pub struct Clock {
    progress: RefCell<Progress>,
    scalars: RefCell<BTreeMap<u64, (Scheduled, f64, Tensor)>>,
    epoch: OnceCell<Tensor>,
    device: Device,
}

impl Clock {
    /// A clock at the start of a run.
    pub fn new(epochs: u64, steps_per_epoch: u64, device: Device) -> Self {
        let start = Progress { epoch: 0, step: 0, steps_per_epoch: steps_per_epoch.max(1), epochs };
        Self { progress: start.into(), scalars: RefCell::default(), epoch: OnceCell::new(), device }
    }

    /// The run's progress.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// A clock with this one's scalars that does not know the time, as a captured step sees it.
    /// For tests of steps that will be captured, which must not depend on the time.
    #[must_use]
    pub fn without_time(&self) -> Self {
        let wrong = Progress { epoch: u64::MAX / 2, step: u64::MAX / 2, steps_per_epoch: 1, epochs: 1 };
        let scalars = self.scalars.borrow();
        let unseen =
            |(number, _, scalar): &(Scheduled, f64, Tensor)| (number.clone(), f64::NAN, scalar.shallow_clone());
        let scalars: BTreeMap<_, _> = scalars.iter().map(|(id, entry)| (*id, unseen(entry))).collect();
        let epoch = self.epoch.get().map_or_else(OnceCell::new, |epoch| epoch.shallow_clone().into());
        Self { progress: wrong.into(), scalars: scalars.into(), epoch, device: self.device }
    }

    /// Moves to a step and refreshes, in place, every scalar whose number has changed.
    pub fn set(&self, epoch: u64, step: u64) {
        let progress = Progress { epoch, step, ..self.progress() };
        let before = self.progress.replace(progress);
        if let Some(scalar) = self.epoch.get().filter(|_| before.epoch != epoch) {
            drop(scalar.shallow_clone().fill_(epoch as i64));
        }
        for (number, held, scalar) in self.scalars.borrow_mut().values_mut() {
            let value = number.value(&progress);
            if value.to_bits() != held.to_bits() {
                *held = value;
                drop(scalar.fill_(value));
            }
        }
    }

    /// The epoch, from 0, as a `[]` int64 on the run's device, which a captured step sees change.
    pub fn epoch(&self) -> Tensor {
        let now = || Tensor::full([] as [i64; 0], self.progress().epoch as i64, (Kind::Int64, self.device));
        self.epoch.get_or_init(now).shallow_clone()
    }

    fn read(&self, number: &Scheduled) -> Tensor {
        let mut scalars = self.scalars.borrow_mut();
        let entry = scalars.entry(number.id).or_insert_with(|| {
            let value = number.value(&self.progress());
            (number.clone(), value, Tensor::full([] as [i64; 0], value, (Kind::Double, self.device)))
        });
        entry.2.shallow_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard;
    use crate::prelude::*;
    use crate::registry::{FilePath, Plugin, admitting, reading_in};

    /// The number in a file, for each of the plugins below.
    #[settings]
    struct OfFile {
        /// The file.
        file: FilePath,
    }

    impl Config<dyn Scheduler> for OfFile {
        fn build(&self, cx: &Build) -> Result<Box<dyn Scheduler>> {
            struct Read(f64);
            impl Scheduler for Read {
                fn value(&self, progress: &Progress) -> f64 {
                    self.0 * progress.epochs_done()
                }
            }
            let text = std::fs::read_to_string(cx.file(&self.file)).map_err(Error::of)?;
            Ok(Box::new(Read(text.parse().map_err(Error::of)?)))
        }
    }

    register!(dyn Scheduler, "of_file", OfFile, "{ file: number }");
    inventory::submit! {
        Plugin::new::<dyn Scheduler, OfFile>("of_program", "tests", "{ file: number }").keyed(|_| Ok(serde_json::json!({})))
    }

    /// A folder with a file `number` that holds 3, and a scheduler that reads it.
    fn of_file(plugin: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("number"), "3").unwrap();
        (folder, format!("{{ type: {plugin}, file: number }}"))
    }

    const LATER: Progress = Progress { epoch: 2, step: 0, steps_per_epoch: 1, epochs: 9 };

    #[test]
    fn a_file_is_found_in_the_folder_of_the_pipeline() {
        let (folder, yaml) = of_file("of_file");
        let number: Scheduled = reading_in(folder.path(), || serde_yaml::from_str(&yaml).unwrap());
        assert_eq!(number.value(&LATER), 6.0);
        let component: Component<dyn Scheduler> = reading_in(folder.path(), || serde_yaml::from_str(&yaml).unwrap());
        assert_eq!(component.clone().build_alone().unwrap().value(&LATER), 6.0);
        assert!(serde_yaml::from_str::<Scheduled>(&yaml).unwrap_err().to_string().contains("scheduler `of_file`"));
    }

    #[test]
    fn a_program_waits_where_a_pipeline_is_only_looked_at() {
        let (folder, yaml) = of_file("of_program");
        let look = || reading_in(folder.path(), || admitting(|| serde_yaml::from_str::<Scheduled>(&yaml).unwrap()));
        let (late, gone) = (look(), look());
        assert_eq!(late.value(&LATER), 6.0);
        std::fs::remove_file(folder.path().join("number")).unwrap();
        assert!(serde_yaml::to_string(&gone).unwrap().contains("file: number"));
        let error = guard(|| Ok(gone.value(&LATER))).unwrap_err();
        assert!(error.message().starts_with("scheduler `of_program`"), "{error}");
        assert!(reading_in(folder.path(), || serde_yaml::from_str::<Scheduled>(&yaml)).is_err());
    }

    #[test]
    fn a_fraction_is_written_back_as_one() {
        let number: Scheduled = serde_yaml::from_str("8/255").unwrap();
        assert_eq!(number.constant(), Some(8.0 / 255.0));
        assert_eq!(serde_yaml::to_string(&number).unwrap().trim(), "8/255");
        for plain in ["0.031", "0.2", "0.3333333333333333"] {
            let number: Scheduled = serde_yaml::from_str(plain).unwrap();
            assert_eq!(serde_yaml::to_string(&number).unwrap().trim(), plain);
        }
    }

    #[test]
    fn the_epoch_is_a_tensor_that_follows_the_clock() {
        let clock = Clock::new(9, 10, Device::Cpu);
        clock.set(3, 0);
        let (epoch, unknowing) = (clock.epoch(), clock.without_time());
        assert_eq!((epoch.kind(), epoch.int64_value(&[])), (Kind::Int64, 3));
        clock.set(4, 2);
        assert_eq!([&epoch, &clock.epoch(), &unknowing.epoch()].map(|t| t.int64_value(&[])), [4; 3]);
    }

    #[test]
    fn the_clock_hands_out_one_scalar_per_number() {
        let clock = Clock::new(2, 10, Device::Cpu);
        let beta = Scheduled::from(6.0);
        assert_eq!(beta.at(&clock).data_ptr(), beta.at(&clock).data_ptr());
        assert_eq!((Tensor::ones([2], (Kind::Float, Device::Cpu)) * beta.at(&clock)).kind(), Kind::Float);
    }
}
