//! Runs and data sets as plain records.

use super::given;
use crate::tensors::to_python;
use foil::data::{DataSource, Dataset, Reading};
use foil::registry::Component;
use foil::{Error, Result};
use foil_cli::report::gather::{Run, Stage, find};
use pyo3::prelude::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tch::Tensor;

/// The runs in and below a folder, as a list in JSON, and notes about those that cannot be read.
#[pyfunction]
pub(super) fn runs(py: Python<'_>, folder: PathBuf) -> PyResult<(String, Vec<String>)> {
    let made = py.detach(|| {
        let (runs, errors) = Run::load_all(&find(&[folder]));
        let records: Vec<Value> = runs.iter().map(record).collect::<Result<_>>()?;
        let text = serde_json::to_string(&records).map_err(Error::of)?;
        Ok((text, errors.iter().map(|error| error.message().to_string()).collect()))
    });
    given(py, made)
}

fn record(run: &Run) -> Result<Value> {
    let pipeline = &run.pipeline;
    let stage = match run.stage() {
        Stage::Partial(_) => "training",
        Stage::Trained => "trained",
        Stage::Evaluated => "evaluated",
    };
    let mut found = json!({
        "path": run.path.display().to_string(),
        "name": pipeline.name,
        "attack": pipeline.attack.name(),
        "loss": pipeline.loss.name(),
        "model": pipeline.model.name(),
        "data": foil_runs::data::name(pipeline),
        "seed": pipeline.seed,
        "stage": stage,
        "epochs": run.epochs,
        "best_epoch": run.best.as_ref().map(|best| best.epoch),
    });
    let map = found.as_object_mut();
    if let (Some(map), Some(eval)) = (map, run.eval()) {
        map.extend(eval.entries.iter().map(|entry| (entry.name.clone(), json!(entry.accuracy))));
        map.insert("worst_case".into(), json!(eval.worst_case));
    }
    Ok(found)
}

/// The images `[N, C, H, W]` of a split as bytes, and their labels `[N]`.
#[pyfunction]
pub(super) fn images<'py>(
    py: Python<'py>,
    name: &str,
    folder: Option<PathBuf>,
    train: bool,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let read = || -> Result<Dataset> {
        let settings = folder.map_or_else(|| json!(name), |folder| json!({ "type": name, "path": folder }));
        let data: Component<dyn DataSource> = serde_json::from_value(settings).map_err(Error::of)?;
        data.build_within(Path::new(""))?.read(&Reading::default())
    };
    let data = given(py, read())?;
    let split = if train { data.train } else { data.test };
    let shape = split.shape().map(|size| size as i64);
    let labels: Vec<i64> = split.labels.iter().map(|label| i64::from(*label)).collect();
    let (x, y) = (
        Tensor::from_slice(&given(py, split.pixels.all().map_err(Error::of))?).view(shape),
        Tensor::from_slice(&labels),
    );
    Ok((to_python(py, &x)?, to_python(py, &y)?))
}
