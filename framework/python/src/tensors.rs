//! Tensors between Rust and Python, as they are: the same object of libtorch on both sides, its
//! graph for autograd included.
//!
//! torch has two functions for this, made for what `torch.export` compiles: each passes the address
//! of an `at::Tensor`, which is what tch's tensors hold, in a capsule.

#![expect(unsafe_code, reason = "the border to Python")]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::ffi::c_void;
use std::ptr;
use tch::Tensor;

/// The tensor as Python sees it.
pub(crate) fn to_python<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    static WRAP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let address = tensor.as_ptr().cast::<c_void>().cast_mut();
    // SAFETY: `address` is not null and outlives the capsule, which is dropped here and has no
    // destructor.
    let capsule = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyCapsule_New(address, ptr::null(), None))? };
    // Despite its name it copies the handle that it is given, and leaves it to its owner.
    function(py, &WRAP, "alloc_tensor_by_stealing_from_void_ptr")?.call1((capsule,))
}

/// The tensor that a Python object is.
///
/// # Errors
/// A TypeError when it is not a tensor.
pub(crate) fn from_python(object: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    static UNWRAP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let capsule = function(object.py(), &UNWRAP, "unsafe_alloc_void_ptr_from_tensor")?.call1((object,))?;
    // SAFETY: The capsule has no name, as torch makes it; of another object this is an error.
    let address = unsafe { ffi::PyCapsule_GetPointer(capsule.as_ptr(), ptr::null()) };
    if address.is_null() {
        return Err(PyErr::fetch(object.py()));
    }
    // SAFETY: It is a new `at::Tensor` on the heap that no one else owns.
    Ok(unsafe { Tensor::from_ptr(address.cast()) })
}

/// A function of torch, looked up once.
fn function<'py>(py: Python<'py>, known: &PyOnceLock<Py<PyAny>>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let look = || Ok::<_, PyErr>(py.import("torch")?.getattr("_C")?.getattr("_aoti")?.getattr(name)?.unbind());
    Ok(known.get_or_try_init(py, look)?.bind(py).clone())
}

/// What holds tensors, carried into a call without the GIL and back.
pub(crate) struct Carried<T>(T);

// SAFETY: A call without the GIL stays in its thread, so what is carried into it never meets
// another one.
unsafe impl<T> Send for Carried<T> {}

impl<T> Carried<T> {
    pub(crate) fn new(held: T) -> Self {
        Self(held)
    }

    pub(crate) fn take(self) -> T {
        self.0
    }

    pub(crate) fn get(&self) -> &T {
        &self.0
    }
}
