//! The keys of a plugin in Python: those of every one, and those of its class.

use super::{Object, helper};
use crate::faults;
use foil::registry::{Build, FilePath, Kind, article};
use foil::scheduler::Scheduled;
use foil::{Error, Result};
use foil_config::{Problem, Written};
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// What a pipeline says of a plugin in Python of the kind `K`.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Settings<K: ?Sized> {
    file: FilePath,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// The keys of the class, in one order however they were written: a run's identity has them.
    #[serde(flatten)]
    pub(super) keys: BTreeMap<String, serde_json::Value>,
    #[serde(skip)]
    kind: PhantomData<fn() -> Box<K>>,
}

impl<K: ?Sized> fmt::Debug for Settings<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.file, self.class, self.keys)
    }
}

/// Descriptions of keys.
const FILE: &str = "The Python file, relative to the folder of this config; it is copied into the run's folder.";
const SHA256: &str = "The file's SHA-256 in 64 hexadecimal digits; a different file is refused. `resolved.yaml` of a \
                      run contains it.";

/// The manual of each kind.
pub(crate) trait Manual {
    /// What the class must be, in Markdown.
    const TEXT: &'static str;
}

impl<K: Manual + ?Sized> schemars::JsonSchema for Settings<K> {
    fn schema_name() -> Cow<'static, str> {
        "Python".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": K::TEXT,
            "properties": {
                "file": {
                    "type": "string", "x-file": true,
                    "description": FILE,
                },
                "class": {
                    "type": ["string", "null"], "default": null,
                    "description": "The class in it; by default the only one of its kind.",
                },
                "sha256": {
                    "type": ["string", "null"], "default": null,
                    "description": SHA256,
                },
            },
            "required": ["file"],
            "additionalProperties": true,
        })
    }
}

/// The schema of the class that is written.
pub(crate) fn schema_of<K: Kind + ?Sized>(written: &[Written]) -> Result<serde_json::Value, Problem> {
    let of = |key: &str| written.iter().find(|one| one.key == key);
    let Some(file) = of("file") else {
        return Err(Problem::new(
            "",
            format!("{} in Python has no `file`", article(K::NAME)),
            "write file: my_plugin.py",
        ));
    };
    let path = file.folder.join(&file.text);
    Python::attach(|py| {
        let described = || -> PyResult<String> {
            helper(py, "schema")?.call1((K::NAME, &path, of("class").map(|class| &class.text)))?.extract()
        };
        let text = described().map_err(|error| faults::problem(py, &error, &path))?;
        serde_json::from_str(&text).map_err(|error| Problem::new("class", error.to_string(), ""))
    })
}

impl<K: Kind + ?Sized> Settings<K> {
    /// The keys that take a number or a scheduler.
    ///
    /// # Errors
    /// When one is neither.
    pub(super) fn numbers(&self, object: &Object, cx: &Build, py: Python<'_>) -> Result<Vec<(String, Scheduled)>> {
        let names: Vec<String> = object.call("scheduled", |names, plugin| names.call1((plugin,))?.extract(), py)?;
        let numbers = names.into_iter().map(|name| {
            let written = self.keys.get(&name).cloned().unwrap_or_default();
            let number = cx.reading(|| serde_json::from_value(written));
            Ok((name, number.map_err(Error::of)?))
        });
        numbers.collect()
    }

    /// The keys of the class.
    pub(super) fn keys_as_json(&self) -> serde_json::Value {
        serde_json::Value::Object(self.keys.clone().into_iter().collect())
    }

    /// The object.
    ///
    /// # Errors
    /// What is wrong with the file or the class, or what its constructor raises.
    pub(super) fn object(&self, cx: &Build) -> Result<Object> {
        let file = cx.file(&self.file);
        Python::attach(|py| {
            let keys = self.keys_as_json().to_string();
            let made =
                helper(py, "make").and_then(|make| make.call1((K::NAME, &file, &self.class, &self.sha256, keys)));
            match made {
                Ok(object) => Ok(Object { object: object.unbind(), file: file.clone() }),
                Err(error) => Err(faults::of_plugin(py, &error, &file)),
            }
        })
    }
}
