//! What the Python sources call: training, attacks on a module, a run's network, records.

mod attack;
mod network;
mod records;
mod train;

use crate::faults::raised;
use foil::Result;
use pyo3::prelude::*;

/// A result of foil's as Python has it.
fn given<T>(py: Python<'_>, result: Result<T>) -> PyResult<T> {
    result.map_err(|error| raised(py, &error))
}

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<network::Loaded>()?;
    module.add_function(wrap_pyfunction!(attack::attack, module)?)?;
    module.add_function(wrap_pyfunction!(records::runs, module)?)?;
    module.add_function(wrap_pyfunction!(records::images, module)?)?;
    module.add_function(wrap_pyfunction!(train::train, module)?)?;
    module.add_function(wrap_pyfunction!(train::resume, module)?)
}
