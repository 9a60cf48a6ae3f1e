//! The page of a plugin in Python, from its file.

use super::page;
use foil::registry::{Plugin, plugins};
use foil::{Error, Result};
use foil_config::{Problem, Written};

/// The page of the class in `file`, by default of the only plugin in it.
pub(super) fn page(file: &str, class: Option<&str>) -> Result<String> {
    let written = |key: &str, text: &str| Written { key: key.into(), text: text.into(), folder: Default::default() };
    let mut keys = vec![written("file", file)];
    keys.extend(class.map(|class| written("class", class)));
    let tried: Vec<(&Plugin, Result<serde_json::Value, Problem>)> =
        plugins().into_iter().filter_map(|plugin| Some((plugin, plugin.schema_of(&keys)?))).collect();
    if tried.is_empty() {
        return Err(Error::new("this foil has no Python in it, so it cannot read a plugin in Python")
            .help("install the one that has: pip install foil-train"));
    }
    let mut problem = None;
    for (plugin, schema) in tried {
        match schema {
            Ok(schema) => return Ok(page::in_python(plugin.kind(), file, &schema)),
            Err(found) => problem = problem.or(Some(found)),
        }
    }
    let (message, help) = problem.map(|found| (found.message, found.help.unwrap_or_default())).unwrap_or_default();
    Err(Error::new(message).help(help))
}
