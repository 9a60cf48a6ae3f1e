//! Reading a file into a checked pipeline.

use super::Pipeline;
use super::networks::name_of;
use super::{Looking, Registry};
use foil::distributed::World;
use foil::registry::{admitting, reading_in};
use foil::{AtPath, Error, Result, regular};
use foil_config::{Checked, Problem};
use std::path::Path;

/// A pipeline, and where each of its keys was written.
#[derive(Debug)]
pub struct Loaded {
    /// What the file says, with includes, overrides and defaults.
    pub pipeline: Pipeline,
    /// Finds the place of a key path, for problems found later.
    pub checked: Checked,
}

/// The JSON Schema of a pipeline, in which components are references to the registry.
pub fn root_schema() -> serde_json::Value {
    schemars::schema_for!(Pipeline).to_value()
}

/// The self-contained JSON Schema that editors use, with every plugin's keys, and those of plugins
/// that are `of_files`.
pub fn editor_schema(of_files: &[foil_config::OfFile]) -> serde_json::Value {
    foil_config::editor_schema(&root_schema(), &Registry, of_files)
}

/// Reads a pipeline file, follows its `extends`, applies `key=value` overrides, and checks
/// everything.
///
/// # Errors
/// Every problem of the file at once, each with its place.
pub fn load(path: &Path, overrides: &[String]) -> Result<Loaded> {
    loaded(path, foil_config::load(path, overrides, &root_schema(), &Registry)?)
}

/// As [`load`], for one rank of `world`; only the first rank reads the file.
///
/// # Errors
/// As [`load`].
pub fn load_across(world: World, path: &Path, overrides: &[String]) -> Result<Loaded> {
    if !world.is_joined() {
        return load(path, overrides);
    }
    let text = match world.is_first() {
        true => foil::regular::read_to_string(path, foil::regular::TEXT).at("reading", path)?,
        false => String::new(),
    };
    load_text(path, &world.first_says(&text)?, overrides)
}

/// As [`load`] for a text that is not a file on this machine, such as another rank's
/// `resolved.yaml`; messages refer to it as `path`.
///
/// # Errors
/// As [`load`].
pub fn load_text(path: &Path, text: &str, overrides: &[String]) -> Result<Loaded> {
    let name = path.display().to_string();
    loaded(path, foil_config::load_str(&name, text, overrides, &root_schema(), &Registry)?)
}

/// Bytes of a pipeline's file.
const LONGEST: u64 = 1 << 20;

/// Accepts any file as a pipeline, and loads nothing.
struct Anything;

impl foil_config::Catalog for Anything {
    fn names(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn schema(&self, _: &str, _: &str) -> Option<serde_json::Value> {
        None
    }
}

/// The content of a YAML file, read like a pipeline, but unchecked and without running anything.
///
/// # Errors
/// When it is not YAML.
pub fn unchecked(path: &Path) -> Result<serde_yaml::Value> {
    let text = regular::read(path, LONGEST).at("reading", path)?;
    let name = path.display().to_string();
    Ok(foil_config::load_str(&name, text, &[], &serde_json::json!({}), &Anything)?.value)
}

/// Whether the pipeline at `path` has a plugin in Python, whose code loading it would run.
pub fn has_python(path: &Path) -> bool {
    let mut names = Vec::new();
    if let Ok(value) = unchecked(path) {
        types(&value, &mut names);
    }
    names.iter().any(|name| name == "python")
}

/// Reads a run's pipeline for inspection. No library is loaded: parts from one that is not loaded
/// can be shown but not built.
///
/// # Errors
/// As [`load`].
pub fn look(path: &Path, overrides: &[String]) -> Result<Loaded> {
    let mut names = Vec::new();
    types(&unchecked(path)?, &mut names);
    let checked = foil_config::load(path, overrides, &root_schema(), &Looking::at(names))?;
    admitting(|| {
        let listed = checked.value.get("plugins").cloned();
        let mut loaded = loaded(path, checked)?;
        loaded.pipeline.plugins = listed.and_then(|listed| serde_yaml::from_value(listed).ok()).unwrap_or_default();
        Ok(loaded)
    })
}

pub(super) fn loaded(path: &Path, checked: Checked) -> Result<Loaded> {
    let value = super::files::locate(&checked, path)?;
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut pipeline: Pipeline = reading_in(&folder, || serde_yaml::from_value(value)).map_err(|e| {
        Error::new(format!("{}: {e}", path.display())).help("if this does not say what to change, please report it")
    })?;
    if pipeline.name.is_none() {
        pipeline.name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    }
    pipeline.folder = folder;
    pipeline.plugins = libraries(&pipeline)?;
    Ok(Loaded { pipeline, checked })
}

/// The libraries that the pipeline uses. They are recorded so that a run can be resumed without
/// giving them on the command line; others are not, so that a loaded but unused library does not
/// change the run's identity.
fn libraries(pipeline: &Pipeline) -> Result<Vec<String>> {
    let value = serde_yaml::to_value(pipeline).at("writing", Path::new("the resolved pipeline"))?;
    let mut used = Vec::new();
    types(&value, &mut used);
    let has_part =
        |library: &foil::plugin::Loaded| library.plugins.iter().any(|(_, name)| used.iter().any(|word| word == name));
    Ok(foil::plugin::loaded().iter().filter(|l| has_part(l)).map(|l| l.path.display().to_string()).collect())
}

/// Every value of `type`, at any depth.
pub(super) fn types(value: &serde_yaml::Value, found: &mut Vec<String>) {
    match value {
        serde_yaml::Value::Mapping(map) => map.iter().for_each(|(key, value)| match value.as_str() {
            Some(name) if key.as_str() == Some("type") => found.push(name.to_string()),
            _ => types(value, found),
        }),
        serde_yaml::Value::Sequence(items) => items.iter().for_each(|item| types(item, found)),
        _ => {}
    }
}

impl Loaded {
    /// Turns problems into an error that says where each was written.
    ///
    /// # Errors
    /// The problems.
    pub fn built<T>(&self, parts: Result<T, Vec<Problem>>) -> Result<T> {
        parts.map_err(|problems| self.checked.problems(problems).into())
    }
}

impl Pipeline {
    /// The attack that it trains with and its loss, as in model cards: `pgd + trades`; then its
    /// update and its average, if it has them: `pgd + trades + awp + ema`.
    pub fn method(&self) -> String {
        let parts = [Some(self.attack.name()), Some(self.loss.name()), name_of(self.update.as_ref())];
        let parts = parts.into_iter().chain([name_of(self.average.as_ref())]).flatten();
        parts.collect::<Vec<_>>().join(" + ")
    }

    /// Writes the lock of a run folder, if the pipeline uses libraries: the run can be resumed and
    /// evaluated only with exactly these files.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn lock_libraries(&self, folder: &Path) -> Result<()> {
        let loaded = foil::plugin::loaded();
        let used = loaded.iter().filter(|library| self.plugins.contains(&library.path.display().to_string()));
        let lock = foil::plugin::Lock::of(used.map(foil::plugin::Loaded::pin));
        if lock.is_empty() { Ok(()) } else { lock.write(folder).map(drop) }
    }

    /// The pipeline as YAML, plugins' parts included; reading it gives the same pipeline.
    ///
    /// # Errors
    /// When a plugin's settings have no YAML form.
    pub fn to_yaml(&self) -> Result<String> {
        serde_yaml::to_string(self).at("writing", Path::new("the resolved pipeline"))
    }
}
