//! The registered plugins as the config checker sees them.

use foil::Error;
use foil::registry::{Component, Kind as _, admitting, find, plugins};
use foil::scheduler::Scheduler;
use foil_config::{Catalog, FolderOf, Library, Problem, Written};
use serde_yaml::Value;

/// The registry as the config checker sees it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Registry;

impl Catalog for Registry {
    fn names(&self, kind: &str) -> Vec<String> {
        plugins().iter().filter(|e| e.kind() == kind).map(|e| e.name().to_string()).collect()
    }
    fn schema(&self, kind: &str, name: &str) -> Option<serde_json::Value> {
        find(kind, name).ok().map(foil::registry::Plugin::schema)
    }
    fn schema_of(&self, kind: &str, name: &str, written: &[Written]) -> Option<Result<serde_json::Value, Problem>> {
        find(kind, name).ok()?.schema_of(written)
    }
    /// Only schedulers can be built before anything is known of the data; the others are checked by
    /// [`super::assemble`].
    fn check(&self, kind: &str, path: &str, component: &Value, folder: FolderOf<'_>) -> Vec<Problem> {
        if kind != <dyn Scheduler>::NAME {
            return Vec::new();
        }
        // One that meets its schema and cannot be read nevertheless is reported when the pipeline
        // is read.
        let read = serde_yaml::from_value::<Component<dyn Scheduler>>(super::files::found(component, path, folder));
        read.ok().and_then(|scheduler| scheduler.build_at(path).err()).unwrap_or_default()
    }
    fn more(&self, rest: &Value, known: &[Problem], folder: FolderOf<'_>) -> Vec<Problem> {
        super::partial::more_problems(&super::files::found(rest, "", folder), known)
    }
    fn load(&self, library: &Library) -> Result<(), (String, String)> {
        let text = |error: Error| (error.message().to_string(), error.suggestion().unwrap_or_default().to_string());
        match &library.file {
            Some(file) => foil::plugin::load_listed(&library.path, file).map_err(text),
            None => foil::plugin::load(&library.path).map_err(text),
        }
    }
}

/// The registry, and any other plugin that a pipeline names. It loads no library.
pub(super) struct Looking(Vec<String>);

impl Looking {
    /// For a pipeline with these values of `type`.
    pub(super) fn at(names: Vec<String>) -> Self {
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

    /// A program in a file is not run: the pipeline may be from anyone.
    fn check(&self, kind: &str, path: &str, component: &Value, folder: FolderOf<'_>) -> Vec<Problem> {
        let name = component.get("type").and_then(Value::as_str).unwrap_or_default();
        match find(kind, name).is_ok_and(foil::registry::Plugin::is_keyed) {
            true => Vec::new(),
            false => admitting(|| Registry.check(kind, path, component, folder)),
        }
    }

    fn load(&self, _: &Library) -> Result<(), (String, String)> {
        Ok(())
    }
}
