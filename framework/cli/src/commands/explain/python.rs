//! The page of a plugin in Python, from its file.

use super::super::in_python::classes;
use super::page;
use foil::{Error, Result};

/// The page of the class in `file`, by default of the only plugin in it.
pub(super) fn page(file: &str, class: Option<&str>) -> Result<String> {
    let found = classes(file, class)?;
    let (plugin, schema) = found.first().ok_or_else(|| Error::new(format!("`{file}` has no plugin")))?;
    Ok(page::in_python(plugin.kind(), file, schema))
}
