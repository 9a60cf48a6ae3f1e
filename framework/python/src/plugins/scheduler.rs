//! A scheduler that is an expression of Python's.

use super::raise;
use crate::faults;
use foil::prelude::*;
use foil::scheduler::Progress;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A Python expression, computed on the host before each step: `lr: { type: python, value: "0.1 *
/// min(1, done / 5)" }`.
///
/// It may use `epoch` and `step`, from 0, `done`, the epochs done with fraction, `epochs` and
/// `steps_per_epoch` of the run, and Python's `math`.
#[settings]
pub struct Expression {
    /// The expression.
    pub value: String,
}

struct Compiled {
    code: Py<PyAny>,
    value: String,
}

impl Config<dyn Scheduler> for Expression {
    fn build(&self, _: &Build) -> Result<Box<dyn Scheduler>> {
        Python::attach(|py| {
            let compile = || py.import("builtins")?.getattr("compile")?.call1((&self.value, "value", "eval"));
            let code = compile().map_err(|error| self.fault(py, &error))?.unbind();
            let compiled = Compiled { code, value: self.value.clone() };
            let start = Progress { epoch: 0, step: 0, steps_per_epoch: 1, epochs: 1 };
            compiled.compute(py, &start).map_err(|error| self.fault(py, &error))?;
            Ok(Box::new(compiled) as _)
        })
    }
}

impl Expression {
    fn fault(&self, py: Python<'_>, error: &PyErr) -> Error {
        let said = faults::problem(py, error, std::path::Path::new("value")).message;
        Error::new(format!("`{}` cannot be computed: {said}", self.value))
            .help("it is a Python expression of epoch, step, done, epochs, steps_per_epoch and math")
    }
}

impl Compiled {
    fn compute(&self, py: Python<'_>, at: &Progress) -> PyResult<f64> {
        let names = PyDict::new(py);
        names.set_item("math", py.import("math")?)?;
        for (name, number) in
            [("epoch", at.epoch), ("step", at.step), ("epochs", at.epochs), ("steps_per_epoch", at.steps_per_epoch)]
        {
            names.set_item(name, number)?;
        }
        names.set_item("done", at.epochs_done())?;
        py.import("builtins")?.getattr("eval")?.call1((&self.code, names))?.extract()
    }
}

impl Scheduler for Compiled {
    fn value(&self, progress: &Progress) -> f64 {
        let value = Python::attach(|py| {
            self.compute(py, progress).map_err(|error| Error::new(format!("`{}`: {error}", self.value)))
        });
        value.unwrap_or_else(|error| raise(error.context("scheduler `python`")))
    }
}

register!(dyn Scheduler, "python", Expression, "{ value: 0.1 * min(1, done / 5) }");
