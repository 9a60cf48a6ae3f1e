//! The model and the batch of an attack in Python, while the method runs that got them.

#![expect(unsafe_code, reason = "the border to Python")]

use crate::faults::raised;
use crate::tensors::{Carried, from_python, to_python};
use foil::Error;
use foil::attack::{Batch, Target};
use foil::guard;
use foil::nn::Mode;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use tch::Tensor;

/// Where target and batch are, and whose thread may use them.
#[derive(Clone, Copy)]
struct At {
    target: *const Target<'static>,
    batch: *const Batch<'static>,
    thread: ThreadId,
}

// SAFETY: The addresses are followed only in `thread`, where they come from.
unsafe impl Send for At {}

/// What `foil._base.Target` and `foil._base.AttackBatch` call.
#[pyclass(frozen)]
pub(super) struct Scene(Arc<Mutex<Option<At>>>);

/// Ends a scene: what Python kept of it is refused from then on.
pub(super) struct Ends(Arc<Mutex<Option<At>>>);

impl Drop for Ends {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Scene {
    /// A scene until the second value is dropped, which must be before `target` and `batch` are.
    pub(super) fn new<'py>(py: Python<'py>, target: &Target, batch: &Batch) -> PyResult<(Bound<'py, Self>, Ends)> {
        let at = At {
            target: std::ptr::from_ref(target).cast(),
            batch: std::ptr::from_ref(batch).cast(),
            thread: thread::current().id(),
        };
        let held = Arc::new(Mutex::new(Some(at)));
        Ok((Bound::new(py, Self(Arc::clone(&held)))?, Ends(held)))
    }

    /// Runs `work` on both, without the GIL.
    fn with<T>(&self, py: Python<'_>, work: impl FnOnce(&Target, &Batch) -> foil::Result<T>) -> PyResult<T> {
        let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = at.filter(|at| at.thread == thread::current().id()).ok_or_else(|| {
            PyRuntimeError::new_err(
                "target and batch can be used only while the method runs that got them, in its thread",
            )
        })?;
        // SAFETY: The scene has not ended, so both are alive: the method borrows them, and it is on
        // this thread's stack below this call. Both are only read.
        let (target, batch) = unsafe { (&*at.target, &*at.batch) };
        let work = Carried::new((target, batch, work));
        let done = py.detach(|| {
            let (target, batch, work) = work.take();
            Carried::new(guard(|| work(target, batch)))
        });
        done.take().map_err(|error| raised(py, &error))
    }
}

fn mode(train: bool) -> Mode {
    if train { Mode::Train } else { Mode::Eval }
}

/// Runs `work` on the model, or on the other network of this name; a gradient is the mean over
/// `eot` passes.
fn seen<T>(
    target: &Target,
    network: Option<&str>,
    eot: u32,
    work: impl FnOnce(&Target) -> foil::Result<T>,
) -> foil::Result<T> {
    match network {
        Some(name) => work(&target.network(name)?.averaging(eot)),
        None => work(&target.averaging(eot)),
    }
}

#[pymethods]
impl Scene {
    /// Logits `[N, K]` without gradient.
    fn logits<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        train: bool,
        network: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let x = from_python(x)?;
        let logits = |target: &Target| Ok(target.logits(&x, mode(train)));
        to_python(py, &self.with(py, |target, _| seen(target, network, 1, logits))?)
    }

    /// Logits `[N, K]`, differentiable in `x`.
    fn forward<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        train: bool,
        network: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let x = from_python(x)?;
        let logits = |target: &Target| Ok(target.forward(&x, mode(train)));
        to_python(py, &self.with(py, |target, _| seen(target, network, 1, logits))?)
    }

    /// d(sum of `value(logits)`)/dx, `[N, C, H, W]`, and the logits `[N, K]`.
    fn gradient<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        train: bool,
        network: Option<&str>,
        eot: u32,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let (x, function) = (from_python(x)?, value.clone().unbind());
        let first: RefCell<Option<PyErr>> = RefCell::default();
        let called = |logits: &Tensor| {
            let made = Python::attach(|py| from_python(&function.bind(py).call1((to_python(py, logits)?,))?));
            made.unwrap_or_else(|error| {
                let text = error.to_string();
                *first.borrow_mut() = Some(error);
                resume_unwind(Box::new(Error::new(text)))
            })
        };
        let gradient = |target: &Target| Ok(target.gradient(&x, mode(train), &called));
        let made = self.with(py, |target, _| seen(target, network, eot, gradient));
        let ascent = made.map_err(|error| first.take().unwrap_or(error))?;
        Ok((to_python(py, &ascent.gradient)?, to_python(py, &ascent.logits)?))
    }

    /// Reports the current point of an iterative attack.
    fn iterate(&self, py: Python<'_>, x: &Bound<'_, PyAny>) -> PyResult<()> {
        let x = from_python(x)?;
        self.with(py, |target, _| {
            target.iterate(&x);
            Ok(())
        })
    }

    /// The sum over the ranks that share the batch.
    fn sum_over_ranks<'py>(&self, py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let value = from_python(value)?;
        to_python(py, &self.with(py, |target, _| target.sum_over_ranks(&value))?)
    }

    /// What every rank has for each of its images, in the batch's order.
    fn gather_over_ranks<'py>(&self, py: Python<'py>, own: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let own = from_python(own)?;
        to_python(py, &self.with(py, |target, _| target.gather_over_ranks(&own))?)
    }

    /// The place of the first of this rank's images in the batch of all ranks.
    fn first_in_batch(&self, py: Python<'_>) -> PyResult<i64> {
        self.with(py, |target, _| Ok(target.first_in_batch()))
    }

    /// Numbers uniform in [0, 1), `[N, C, H, W]`, keyed by name and image.
    fn uniform<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.with(py, |_, batch| Ok(batch.uniform(name)))?)
    }

    /// Standard normal numbers, `[N, C, H, W]`, keyed by name and image.
    fn normal<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.with(py, |_, batch| Ok(batch.normal(name)))?)
    }
}
