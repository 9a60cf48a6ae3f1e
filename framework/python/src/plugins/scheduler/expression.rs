//! A scheduler that is an expression of Python's.

use crate::faults;
use foil::prelude::*;
use foil::scheduler::Progress;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The compiled expression.
pub(super) struct Expression {
    code: Py<PyAny>,
    text: String,
}

impl Expression {
    /// # Errors
    /// What Python's compiler says.
    pub(super) fn compiled(text: &str) -> Result<Self> {
        Python::attach(|py| {
            let compile = || py.import("builtins")?.getattr("compile")?.call1((text, "value", "eval"));
            let code = compile().map_err(|error| fault(py, text, &error))?.unbind();
            Ok(Self { code, text: text.into() })
        })
    }

    /// The number.
    ///
    /// # Errors
    /// What the expression raises, and a number that is not finite.
    pub(super) fn compute(&self, at: &Progress) -> Result<f64> {
        Python::attach(|py| self.evaluated(py, at).map_err(|error| fault(py, &self.text, &error)))
    }

    fn evaluated(&self, py: Python<'_>, at: &Progress) -> PyResult<f64> {
        let names = PyDict::new(py);
        names.set_item("math", py.import("math")?)?;
        for (name, number) in
            [("epoch", at.epoch), ("step", at.step), ("epochs", at.epochs), ("steps_per_epoch", at.steps_per_epoch)]
        {
            names.set_item(name, number)?;
        }
        names.set_item("done", at.epochs_done())?;
        let value: f64 = py.import("builtins")?.getattr("eval")?.call1((&self.code, names))?.extract()?;
        match value.is_finite() {
            true => Ok(value),
            false => Err(PyValueError::new_err(format!("it is {value}, but must be finite"))),
        }
    }
}

fn fault(py: Python<'_>, text: &str, error: &PyErr) -> Error {
    let said = faults::problem(py, error, std::path::Path::new("value")).message;
    Error::new(format!("`{text}` cannot be computed: {said}"))
        .help("it is a Python expression of epoch, step, done, epochs, steps_per_epoch and math")
        .unplaced()
}
