//! Plugins written in Python: `{ type: python, file: my_loss.py, class: MyLoss, … }`.
//!
//! A class in the file brings the keys; what it does is called through the trait that a plugin in
//! Rust implements.

mod attack;
mod data;
mod kept;
mod loss;
mod model;
mod objective;
mod scene;
mod scheduler;
mod settings;

use crate::tensors::to_python;
use foil::{Error, Result};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use settings::Settings;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use tch::Tensor;

/// An object of a plugin's class.
struct Object {
    object: Py<PyAny>,
    /// The file, for messages.
    file: PathBuf,
}

impl Object {
    /// Calls `foil._plugins.NAME`.
    ///
    /// # Errors
    /// The exception, with file and line.
    fn call<'py, T>(
        &self,
        name: &str,
        work: impl FnOnce(&Bound<'py, PyAny>, &Bound<'py, PyAny>) -> PyResult<T>,
        py: Python<'py>,
    ) -> Result<T> {
        let called = helper(py, name).and_then(|helper| work(&helper, self.object.bind(py)));
        called.map_err(|error| crate::faults::of_plugin(py, &error, &self.file))
    }

    /// A class attribute.
    fn attribute<T>(&self, py: Python<'_>, name: &str) -> Result<T>
    where
        T: for<'a, 'py> FromPyObject<'a, 'py, Error: Into<PyErr>>,
    {
        let read = self.object.bind(py).getattr(name).and_then(|value| value.extract::<T>().map_err(Into::into));
        read.map_err(|error| Error::new(format!("its `{name}` is not what it must be: {error}")))
    }
}

/// The function `foil._plugins.NAME`.
fn helper<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("foil._plugins")?.getattr(name)
}

/// A dictionary of tensors.
fn dict<'py, 'a>(
    py: Python<'py>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    for (name, tensor) in tensors {
        made.set_item(name, to_python(py, tensor)?)?;
    }
    Ok(made)
}

/// Warns once of each thing: a pipeline is assembled several times.
fn warn_once(text: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_string()) {
        tracing::warn!("{text}");
    }
}

/// Ends a method that cannot return an error; foil's engine makes an error of it again.
fn raise(error: Error) -> ! {
    std::panic::resume_unwind(Box::new(error))
}
