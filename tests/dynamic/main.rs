//! Plugins from libraries: what is refused, what `foil check` finds, panics in every callback,
//! logs, locks, and that a library trains as the same code linked in does.
//!
//! The libraries are dev-dependencies, so that cargo has built them by now: `plugins/template`,
//! `tests/libraries`.

#[path = "../tiny/mod.rs"]
mod tiny;

mod callbacks;
mod memory;
mod methods;
mod refused;
mod rehearsal;
mod run_record;
mod speed;

use std::path::PathBuf;
use tiny::{Ended, Place};

/// A library that cargo has built beside this test.
pub fn library(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let path = deps.join(format!("lib{name}.so"));
    assert!(path.exists(), "{} was not built", path.display());
    path
}

/// `library(name)` as an argument.
pub fn path(name: &str) -> String {
    library(name).display().to_string()
}

/// A copy of the template library in which `change` was made.
pub fn changed(place: &Place, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = std::fs::read(library("foil_template")).unwrap();
    change(&mut bytes);
    let path = place.path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// `foil list --plugins PATH`.
pub fn list(place: &Place, path: &std::path::Path) -> Ended {
    place.foil(&["list", "--plugins", path.to_str().unwrap()])
}
