//! Plugins of libraries that are not loaded: their settings can be read and written, but not
//! built.
//!
//! So a folder of runs can be inspected without running any library that its pipelines name.

use super::component::Settings;
use super::{Build, Kind, Registry};
use crate::plugin::Held;
use crate::{Error, Result};
use foil_config::{Catalog, Library, Problem};
use serde_yaml::Value;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

thread_local! {
    static ADMITTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, in which names that the registry does not know are accepted as components.
pub(crate) fn admitting<T>(work: impl FnOnce() -> T) -> T {
    let before = ADMITTED.replace(true);
    let done = work();
    ADMITTED.set(before);
    done
}

pub(super) fn is_admitted() -> bool {
    ADMITTED.get()
}

/// `name` with a static lifetime, allocated once.
pub(super) fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_string().into_boxed_str());
    names.insert(kept);
    kept
}

/// The settings of a plugin that is not loaded, as YAML.
pub(super) struct Foreign(pub String);

impl<T: Kind + ?Sized> Settings<T> for Foreign {
    fn build(&self, _: &Build) -> Result<Held<T>> {
        Err(Error::new("its library is not loaded").help("name the library with --plugins, if you trust it"))
    }

    fn to_yaml(&self) -> Result<String> {
        Ok(self.0.clone())
    }

    fn describe(&self) -> String {
        self.0.clone()
    }
}

/// The registry, and any other plugin that a pipeline names. It loads no library.
pub(crate) struct Looking(Vec<String>);

impl Looking {
    /// For a pipeline with these values of `type`.
    pub(crate) fn at(names: Vec<String>) -> Self {
        Self(names)
    }
}

impl Catalog for Looking {
    fn names(&self, kind: &str) -> Vec<String> {
        let mut all = Registry.names(kind);
        all.extend(self.0.iter().filter(|name| !all.contains(name)).cloned().collect::<Vec<_>>());
        all
    }

    fn schema(&self, kind: &str, name: &str) -> Option<serde_json::Value> {
        Registry.schema(kind, name)
    }

    fn check(&self, kind: &str, path: &str, component: &Value) -> Vec<Problem> {
        Registry.check(kind, path, component)
    }

    fn load(&self, _: &Library) -> Result<(), (String, String)> {
        Ok(())
    }
}
