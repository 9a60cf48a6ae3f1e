//! The classes of a Python file, as plugins.

use foil::registry::{Plugin, plugins};
use foil::{Error, Result};
use foil_config::{Problem, Written};

/// The kinds of plugin that `file` has a class of, each with the JSON Schema of that class's keys.
/// Of several classes of one kind `class` names one.
///
/// # Errors
/// When there is none, when the file cannot be read, and when this program cannot run Python.
pub(super) fn classes(file: &str, class: Option<&str>) -> Result<Vec<(&'static Plugin, serde_json::Value)>> {
    let written = |key: &str, text: &str| Written { key: key.into(), text: text.into(), folder: Default::default() };
    let mut keys = vec![written("file", file)];
    keys.extend(class.map(|class| written("class", class)));
    let tried: Vec<(&Plugin, Result<serde_json::Value, Problem>)> =
        plugins().into_iter().filter_map(|plugin| Some((plugin, plugin.schema_of(&keys)?))).collect();
    if tried.is_empty() {
        return Err(Error::new("this foil has no Python in it, so it cannot read a plugin in Python")
            .help("install the one that has: pip install foil-train"));
    }
    let (mut found, mut problem) = (Vec::new(), None);
    for (plugin, schema) in tried {
        match schema {
            Ok(schema) => found.push((plugin, schema)),
            Err(other) => problem = problem.or(Some(other)),
        }
    }
    match problem {
        Some(problem) if found.is_empty() => Err(Error::new(problem.message).help(problem.help.unwrap_or_default())),
        _ => Ok(found),
    }
}
