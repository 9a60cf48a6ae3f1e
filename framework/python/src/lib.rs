//! The Python module `foil._foil`: foil's command line with all plugins, and what the Python
//! sources in `python/foil` call. They are what users import; nothing here is.

// A plugin crate that nothing names is not linked, and its registrations are lost.
use foil_alp as _;
use foil_at as _;
use foil_attacks as _;
use foil_augmentations as _;
use foil_averages as _;
use foil_cat as _;
use foil_datasets as _;
use foil_distillation as _;
use foil_dkl as _;
use foil_fast as _;
use foil_fat as _;
use foil_hat as _;
use foil_mart as _;
use foil_mma as _;
use foil_models as _;
use foil_optimizers as _;
use foil_schedulers as _;
use foil_score as _;
use foil_self_adaptive as _;
use foil_torchscript as _;
use foil_trades as _;
use foil_updates as _;

mod api;
mod faults;
mod plugins;
mod start;
mod tensors;

use pyo3::prelude::*;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Runs `foil WORDS` and returns its exit code.
#[pyfunction]
fn main(py: Python<'_>, words: Vec<OsString>) -> u8 {
    let all = std::iter::once("foil".into()).chain(words);
    let code = py.detach(|| foil_cli::run(all.collect::<Vec<_>>()));
    let _ = std::io::stdout().flush(); // What ends here is Python, not a program of Rust's.
    (0..=u8::MAX).find(|number| ExitCode::from(*number) == code).unwrap_or(1)
}

#[pymodule]
fn _foil(module: &Bound<'_, PyModule>) -> PyResult<()> {
    start::declare(module.py())?;
    module.add("VERSION", foil::VERSION)?;
    module.add("LIBTORCH", foil::LIBTORCH)?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    api::add(module)
}
