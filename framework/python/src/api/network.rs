//! A run's network, to be called from Python.

use super::given;
use crate::tensors::{Carried, from_python, to_python};
use foil::engine::choose;
use foil::guard;
use foil::nn::Mode;
use foil::{AtPath, Result, tensors};
use foil_runs::pipeline::{Assembled, assemble, load};
use foil_runs::train::Folder;
use pyo3::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tch::Kind;

/// The network of a run with a checkpoint's weights, its normalisation inside.
#[pyclass]
pub(super) struct Loaded {
    parts: Mutex<Assembled>,
    classes: i64,
}

/// Builds it on `device`; `weights` is a checkpoint in the run's folder, by default the best.
fn read(path: &Path, weights: Option<&Path>, device: &str) -> Result<Loaded> {
    let folder = Folder::open(path)?;
    let weights = weights.map_or_else(|| folder.best(), Path::to_path_buf);
    let loaded = load(&folder.resolved(), &[])?;
    let device = choose(device)?;
    let parts = loaded.built(assemble(&loaded.pipeline, Kind::Float, device, true))?;
    let network = parts.step.model.network();
    let stored = tensors::load(&weights).at("reading", &weights)?;
    network.params().load(&stored.tensors).map_err(|error| error.context(weights.display()))?;
    Ok(Loaded { classes: parts.data.classes, parts: Mutex::new(parts) })
}

#[pymethods]
impl Loaded {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, weights: Option<PathBuf>, device: &str) -> PyResult<Self> {
        let made = py.detach(|| guard(|| read(&path, weights.as_deref(), device)));
        given(py, made)
    }

    /// The number of classes.
    #[getter]
    fn classes(&self) -> i64 {
        self.classes
    }

    /// Logits `[N, K]` of images `x` `[N, C, H, W]` in [0, 1], in eval mode, differentiable in `x`.
    fn logits<'py>(&self, py: Python<'py>, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let x = Carried::new(from_python(x)?);
        let made = py.detach(|| {
            let x = x;
            let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            let network = parts.step.model.network();
            guard(|| Ok(Carried::new(network.frozen(x.get(), Mode::Eval, None))))
        });
        to_python(py, given(py, made)?.get())
    }

    /// Names and values of parameters and buffers; the values are the network's own memory.
    fn tensors<'py>(&self, py: Python<'py>) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let network = parts.step.model.network();
        let all = network.params().state_dict();
        all.into_iter().map(|(name, tensor)| Ok((name, to_python(py, &tensor)?))).collect()
    }
}
