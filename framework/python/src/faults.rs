//! Errors from Python to foil and back.

use foil::Error;
use foil_config::Problem;
use pyo3::prelude::*;
use std::path::Path;

/// An exception in the plugin in `file`: what Python says, with file and line.
pub(crate) fn of_plugin(py: Python<'_>, error: &PyErr, file: &Path) -> Error {
    let problem = problem(py, error, file);
    Error::new(problem.message).help(problem.help.unwrap_or_default()).unplaced()
}

/// The same as a problem with a key of the plugin: the one that `foil._plugins.Fault` blames.
pub(crate) fn problem(py: Python<'_>, error: &PyErr, file: &Path) -> Problem {
    let value = error.value(py);
    // Before Python 3.12 an exception that has been caught may lie beside its traceback.
    if let Some(traceback) = error.traceback(py) {
        let _ = value.setattr("__traceback__", traceback);
    }
    let text = |name: &str| value.getattr(name).and_then(|text| text.extract::<String>());
    if let (Ok(key), Ok(message), Ok(help)) = (text("key"), text("message"), text("help")) {
        return Problem::new(key, message, help);
    }
    let place =
        || -> PyResult<String> { py.import("foil._plugins")?.getattr("where")?.call1((value, file))?.extract() };
    let message = place().unwrap_or_else(|_| error.to_string());
    Problem::new("", message, "call it in Python alone, as its test does")
}

/// foil's error as the exception `foil.Error`, with its help.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let text = error.to_string();
        let message = if error.problems().is_some() { text.trim_start_matches("error: ") } else { error.message() };
        let class = py.import("foil._errors")?.getattr("Error")?;
        Ok(PyErr::from_value(class.call1((message, error.suggestion().unwrap_or_default()))?))
    };
    made().unwrap_or_else(|failed| failed)
}
