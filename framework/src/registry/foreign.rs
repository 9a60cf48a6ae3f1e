//! Plugins of libraries that are not loaded, and settings that this version of a plugin does not
//! take: they can be read and written, but not built.
//!
//! So a folder of runs can be inspected without running any library that its pipelines name, and a
//! run can be evaluated without what trained it.

use super::component::Settings;
use super::{Build, Kind};
use crate::plugin::Held;
use crate::{Error, Result};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

thread_local! {
    static ADMITTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, in which names that the registry does not know, and settings that it cannot read,
/// are accepted as components.
pub fn admitting<T>(work: impl FnOnce() -> T) -> T {
    let before = ADMITTED.replace(true);
    let done = work();
    ADMITTED.set(before);
    done
}

pub(crate) fn is_admitted() -> bool {
    ADMITTED.get()
}

/// `name` with a static lifetime, allocated once: for names that are read at run time, of which
/// there are few.
pub fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_string().into_boxed_str());
    names.insert(kept);
    kept
}

/// The settings of a plugin that cannot be built, as YAML.
pub(super) struct Foreign {
    pub yaml: String,
    /// Why it cannot be built; `None`: it is not loaded.
    pub fault: Option<String>,
}

impl<T: Kind + ?Sized> Settings<T> for Foreign {
    fn build(&self, _: &Build) -> Result<Held<T>> {
        Err(match &self.fault {
            None => Error::new("its library is not loaded").help("name the library with --plugins, if you trust it"),
            Some(fault) => Error::new(fault).help("use the version of the plugin that the settings were written for"),
        })
    }

    fn to_yaml(&self) -> Result<String> {
        Ok(self.yaml.clone())
    }

    fn describe(&self) -> String {
        self.yaml.clone()
    }
}
