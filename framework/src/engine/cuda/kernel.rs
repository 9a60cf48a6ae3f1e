//! foil's own kernels (framework/cuda/kernels.cu), by name.

use super::functions;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Mutex, PoisonError};
use tch::{Device, Tensor};

/// Threads of a block.
const THREADS: u32 = 256;

/// What a kernel is called with.
#[derive(Debug, Clone, Copy)]
pub enum Argument<'a> {
    /// A tensor's numbers, or none.
    Numbers(Option<&'a Tensor>),
    /// A C `long`.
    Long(i64),
    /// A C `int`.
    Int(i32),
    /// A C `float`.
    Float(f32),
}

/// A compiled kernel.
#[derive(Debug, Clone, Copy)]
pub struct Kernel(*mut c_void);

// # Safety
// A kernel is a handle that CUDA lets any thread use; it is never destroyed.
unsafe impl Send for Kernel {}

impl Kernel {
    /// The kernel called `name`; it is compiled for the device on first use.
    ///
    /// # Errors
    /// As [`super::usable`], or when the device is too old for it.
    pub fn named(name: &'static str) -> Result<Self> {
        static KNOWN: Mutex<BTreeMap<&'static str, Kernel>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = known.get(name) {
            return Ok(*kernel);
        }
        let f = functions()?;
        let text = CString::new(name).map_err(|e| Error::new(e.to_string()))?;
        let mut raw = std::ptr::null_mut();
        // # Safety
        // The name is a C string, and both outlive the call.
        f.check(unsafe { (f.kernel)(&raw mut raw, text.as_ptr()) })?;
        known.insert(name, Kernel(raw));
        Ok(Kernel(raw))
    }

    /// Runs it with one thread for each of `threads`, on this thread's stream.
    ///
    /// # Safety
    /// `arguments` are those of the kernel's declaration, in order and type; every tensor is on the device, contiguous in the order the
    /// kernel expects, of the kind it expects, and holds as many numbers as the kernel touches.
    ///
    /// # Errors
    /// When a tensor is not on CUDA, or what CUDA reports.
    pub unsafe fn launch(self, threads: i64, arguments: &[Argument]) -> Result<()> {
        let f = functions()?;
        // Each value in eight bytes of its own; CUDA reads as many of them as the declaration says (little-endian).
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(match *argument {
                Argument::Numbers(None) => 0u64,
                Argument::Numbers(Some(tensor)) if matches!(tensor.device(), Device::Cuda(_)) => {
                    tensor.data_ptr() as u64
                }
                Argument::Numbers(Some(tensor)) => {
                    return Err(Error::new(format!("a kernel was given a tensor on {:?}", tensor.device())));
                }
                Argument::Long(value) => value as u64,
                Argument::Int(value) => u64::from(value as u32),
                Argument::Float(value) => u64::from(value.to_bits()),
            });
        }
        let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|value| (value as *mut u64).cast()).collect();
        let blocks = u32::try_from(threads.max(1).unsigned_abs().div_ceil(u64::from(THREADS)))
            .map_err(|_| Error::new("a tensor is too large for one launch"))?;
        // # Safety
        // By this function's contract; CUDA copies the values before the call returns.
        f.check(unsafe { (f.launch)(self.0, blocks, THREADS, pointers.as_mut_ptr()) })
    }
}
