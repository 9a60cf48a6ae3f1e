//! Training from Python, in the calling thread and without the GIL.

use super::given;
use foil::Result;
use foil_cli::called;
use foil_runs::train::{Ended, Observer};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often Python is asked whether Ctrl-C was pressed, and told of progress.
const OFTEN: Duration = Duration::from_millis(200);

/// Passes progress on to a Python function `progress(epoch, epochs, done, steps, text)`.
struct Watching<'a> {
    progress: Option<Py<PyAny>>,
    stop: &'a AtomicBool,
    /// What Python raised meanwhile: KeyboardInterrupt, or a mistake in `progress`.
    raised: Option<PyErr>,
    reported: Instant,
    at: (u64, u64, u64, u64),
}

impl<'a> Watching<'a> {
    fn new(progress: Option<Py<PyAny>>, stop: &'a AtomicBool) -> Self {
        Self { progress, stop, raised: None, reported: Instant::now(), at: Default::default() }
    }

    fn tell(&mut self, text: &str) {
        self.reported = Instant::now();
        let called = Python::attach(|py| {
            py.check_signals()?;
            let (epoch, epochs, done, steps) = self.at;
            self.progress.as_ref().map(|progress| progress.call1(py, (epoch, epochs, done, steps, text))).transpose()
        });
        if let Err(error) = called {
            self.raised.get_or_insert(error);
            self.stop.store(true, Ordering::SeqCst);
        }
    }
}

impl Observer for Watching<'_> {
    fn epoch_started(&mut self, epoch: u64, epochs: u64, steps: u64, done: u64) {
        self.at = (epoch, epochs, done, steps);
        self.tell("");
    }

    fn step_done(&mut self, message: &dyn Fn() -> String) {
        self.at.2 += 1;
        if self.reported.elapsed() > OFTEN {
            self.tell(&message());
        }
    }

    fn epoch_ended(&mut self, summary: &str) {
        self.tell(summary);
    }
}

/// Trains until the end, or until Ctrl-C, and returns the run's folder.
fn trained(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    work: impl FnOnce(&mut dyn Observer, &AtomicBool) -> Result<(PathBuf, Ended)> + Send,
) -> PyResult<PathBuf> {
    let (done, raised) = py.detach(|| {
        let stop = AtomicBool::new(false);
        let mut watching = Watching::new(progress, &stop);
        let done = foil::guard(|| work(&mut watching, &stop));
        (done, watching.raised)
    });
    let (folder, _) = given(py, done)?;
    match raised {
        None => Ok(folder),
        Some(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => {
            let folder = folder.display();
            Err(PyKeyboardInterrupt::new_err(format!("stopped and saved; resume with foil.resume(\"{folder}\")")))
        }
        Some(error) => Err(error),
    }
}

/// As `foil train FILE OVERRIDES --run-dir PLACE --no-eval`.
#[pyfunction]
pub(super) fn train(
    py: Python<'_>,
    file: PathBuf,
    overrides: Vec<String>,
    place: Option<PathBuf>,
    progress: Option<Py<PyAny>>,
) -> PyResult<PathBuf> {
    trained(py, progress, |observer, stop| called::train_file(&file, &overrides, place, observer, stop))
}

/// As `foil train --resume FOLDER --no-eval`.
#[pyfunction]
pub(super) fn resume(py: Python<'_>, folder: PathBuf, progress: Option<Py<PyAny>>) -> PyResult<PathBuf> {
    let path: &Path = &folder;
    trained(py, progress, |observer, stop| Ok((path.to_path_buf(), called::resume(path, observer, stop)?)))
}
