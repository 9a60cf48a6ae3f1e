//! Reading a run to evaluate it where what trained it is no longer there, or is another version.

use super::load::{Loaded, loaded, types, unchecked};
use super::{Registry, root_schema};
use foil::distributed::World;
use foil::registry::{Plugin, admitting, plugins};
use foil::{AtPath, Error, Result, distinct, regular};
use foil_config::{Catalog, Checked, FolderOf, Library, Problem, Problems, Written};
use serde_yaml::Value;
use std::path::Path;

/// The parts that train a run, and that no evaluation looks at.
const TRAINING: [&str; 7] = ["loss", "attack", "update", "average", "averages", "optimizer", "networks"];

/// Reads a run's pipeline as [`super::load_across`] does, for an evaluation. If a library cannot be
/// loaded, or a plugin's keys have changed, and only training needs it, the rest is read
/// nevertheless; the notes say what is missing, in a sentence each.
///
/// # Errors
/// As [`super::load_across`], where the evaluation needs what is missing.
pub fn load_to_evaluate(world: World, path: &Path, overrides: &[String]) -> Result<(Loaded, Vec<String>)> {
    // The first rank reads the file for all, once.
    let text = world.is_joined().then(|| {
        let text = match world.is_first() {
            true => regular::read_to_string(path, regular::TEXT).at("reading", path)?,
            false => String::new(),
        };
        world.first_says(&text)
    });
    let text = text.transpose()?;
    let (schema, name) = (root_schema(), path.display().to_string());
    let read = |catalog: &dyn Catalog| -> Result<Checked, Problems> {
        match &text {
            None => foil_config::load(path, overrides, &schema, catalog),
            Some(text) => foil_config::load_str(&name, text, overrides, &schema, catalog),
        }
    };
    let strict = match read(&Registry).map_err(Error::from).and_then(|checked| loaded(path, checked)) {
        Ok(loaded) => return Ok((loaded, Vec::new())),
        Err(error) => error,
    };
    let Ok(value) = value_of(path, text.as_deref()) else { return Err(strict) };
    let catalog = Lenient::new(&value);
    let Ok(checked) = read(&catalog) else { return Err(strict) };
    let missing = catalog.missing(&strict);
    let listed = checked.value.get("plugins").cloned();
    match admitting(|| loaded(path, checked)) {
        Ok(mut loaded) if !missing.is_empty() && catalog.knows_what_evaluates() => {
            loaded.pipeline.plugins = listed.and_then(|listed| serde_yaml::from_value(listed).ok()).unwrap_or_default();
            Ok((loaded, missing))
        }
        _ => Err(strict),
    }
}

fn value_of(path: &Path, text: Option<&str>) -> Result<Value> {
    match text {
        Some(text) => serde_yaml::from_str(text).at("reading", path),
        None => unchecked(path),
    }
}

/// The registry, which takes any keys of a plugin that only training needs, and any library.
struct Lenient {
    /// A plugin of a training part, as messages call it, and its name.
    training: Vec<(String, String)>,
    /// Names of plugins in the rest.
    evaluating: Vec<String>,
}

impl Lenient {
    fn new(pipeline: &Value) -> Self {
        let (mut training, mut evaluating) = (Vec::new(), Vec::new());
        for (key, value) in pipeline.as_mapping().into_iter().flatten() {
            let mut names = Vec::new();
            let part = Value::Mapping([(key.clone(), value.clone())].into_iter().collect());
            types(&part, &mut names);
            match TRAINING.into_iter().find(|part| key.as_str() == Some(part)) {
                Some(part) => {
                    names.extend(value.as_str().map(String::from));
                    let own = value.as_str().or_else(|| value.get("type")?.as_str());
                    let called = |name: &String| match own == Some(name) {
                        true => format!("the {part} `{name}`"),
                        false => format!("`{name}` in `{part}`"),
                    };
                    training.extend(names.into_iter().map(|name| (called(&name), name)));
                }
                None => evaluating.extend(names),
            }
        }
        Self { training, evaluating }
    }

    fn trains_only(&self, name: &str) -> bool {
        self.training.iter().any(|(_, known)| known == name) && !self.evaluating.iter().any(|known| known == name)
    }

    /// Whether every plugin outside of training is registered.
    fn knows_what_evaluates(&self) -> bool {
        self.evaluating.iter().all(|name| is_registered(name))
    }

    /// What training needs and is not there, or may be another version, a sentence each; `strict`
    /// is the error of reading the pipeline with all of it.
    fn missing(&self, strict: &Error) -> Vec<String> {
        let may_differ = |plugin: &Plugin| plugin.library().is_some() || plugin.is_keyed();
        let lacks = |name: &str| !plugins().iter().any(|plugin| plugin.name() == name && !may_differ(plugin));
        let parts = self.training.iter().filter(|(_, name)| self.trains_only(name) && lacks(name)).cloned();
        let said = strict.to_string();
        let why = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let sentence = |(called, _): (String, String)| {
            format!("{called} is missing: {why}; it trained this run, and an evaluation does not need it")
        };
        distinct(parts).into_iter().map(sentence).collect()
    }
}

fn is_registered(name: &str) -> bool {
    plugins().iter().any(|plugin| plugin.name() == name)
}

impl Catalog for Lenient {
    fn names(&self, kind: &str) -> Vec<String> {
        let mut names = Registry.names(kind);
        let more: Vec<String> =
            self.training.iter().map(|(_, name)| name.clone()).filter(|name| !names.contains(name)).collect();
        names.extend(more);
        names
    }

    fn schema(&self, kind: &str, name: &str) -> Option<serde_json::Value> {
        if self.trains_only(name) { None } else { Registry.schema(kind, name) }
    }

    fn schema_of(&self, kind: &str, name: &str, written: &[Written]) -> Option<Result<serde_json::Value, Problem>> {
        if self.trains_only(name) { None } else { Registry.schema_of(kind, name, written) }
    }

    fn check(&self, kind: &str, path: &str, component: &Value, folder: FolderOf<'_>) -> Vec<Problem> {
        let part = path.split('.').next().unwrap_or_default();
        if TRAINING.contains(&part) { Vec::new() } else { Registry.check(kind, path, component, folder) }
    }

    fn load(&self, library: &Library) -> Result<(), (String, String)> {
        let _ = Registry.load(library); // why it failed, the first reading has said
        Ok(())
    }
}
