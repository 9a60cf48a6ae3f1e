//! Tells foil which program it is part of: this module, in the Python that imports it.

use foil::program::{Program, set};
use pyo3::prelude::*;
use std::ffi::OsString;
use std::path::PathBuf;

/// `python -m foil` starts another process with the same foil.
pub(crate) fn declare(py: Python<'_>) -> PyResult<()> {
    let python: OsString = py.import("sys")?.getattr("executable")?.extract()?;
    let package: PathBuf =
        py.import("importlib.util")?.call_method1("find_spec", ("foil._foil",))?.getattr("origin")?.extract()?;
    set(Program { file: package, start: vec![python, "-m".into(), "foil".into()], typed: "foil" });
    Ok(())
}
