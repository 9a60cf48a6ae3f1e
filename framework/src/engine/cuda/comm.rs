//! NCCL's sums over the ranks' GPUs (framework/cuda/nccl.cpp).

use super::functions;
use crate::{Error, Result};
use std::ffi::c_void;
use std::time::Duration;
use tch::{Device, Tensor};

/// This rank's communicator between the ranks' GPUs. It is never closed: NCCL would wait for
/// graphs that hold its sums, and the end of the process closes it too.
#[derive(Debug)]
pub struct Comm {
    raw: *mut c_void,
    device: usize,
}

// # Safety
// Sums come from the training thread and those of its backward passes, one at a time; the rest is
// made for a thread that watches: it locks itself, and NCCL lets any thread ask for errors and
// abort.
unsafe impl Send for Comm {}
// SAFETY: As above.
unsafe impl Sync for Comm {}

/// Identifies a [`Comm`] before it exists.
pub type CommId = [u8; 128];

impl Comm {
    /// NCCL's version, such as `2.28.9`.
    ///
    /// # Errors
    /// As [`super::usable`], or when this libtorch has no NCCL.
    pub fn version() -> Result<String> {
        let f = functions()?;
        let mut version = 0;
        // SAFETY: The number outlives the call.
        f.check(unsafe { (f.comm_version)(&raw mut version) })?;
        match version {
            0 => Err(Error::new("libtorch was built without NCCL")),
            n => Ok(format!("{}.{}.{}", n / 10_000, n / 100 % 100, n % 100)),
        }
    }

    /// A new unique id; one rank makes it for all.
    ///
    /// # Errors
    /// As [`super::usable`], or what NCCL reports.
    pub fn id() -> Result<CommId> {
        let f = functions()?;
        let mut id = [0; 128];
        // SAFETY: The library writes 128 bytes, which the array has.
        f.check(unsafe { (f.comm_id)(id.as_mut_ptr()) })?;
        Ok(id)
    }

    /// Connects to the other ranks, which call it with the same `id`, each with its own device. It
    /// waits for them without a timeout.
    ///
    /// # Errors
    /// As [`super::usable`], or what NCCL reports.
    pub fn open(id: &CommId, rank: usize, size: usize, device: usize) -> Result<Self> {
        let f = functions()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: `id` has 128 bytes, and both outlive the call.
        f.check(unsafe { (f.comm_open)(&raw mut raw, id.as_ptr(), rank as i32, size as i32, device as i32) })?;
        Ok(Self { raw, device })
    }

    /// NCCL reads raw memory, so the tensor's device and layout must be right.
    fn require(&self, tensor: &Tensor) -> Result<()> {
        if tensor.device() == Device::Cuda(self.device) && tensor.is_contiguous() {
            return Ok(());
        }
        let (mine, its) = (self.device, tensor.device());
        Err(Error::new(format!(
            "a sum over the ranks takes contiguous tensors on cuda:{mine}, and this one is on {its:?}"
        )))
    }

    /// Enqueues on this thread's stream: replace `tensor`, contiguous and on the device, by its
    /// sum over the ranks.
    ///
    /// # Errors
    /// What NCCL reports.
    pub fn sum(&self, tensor: &Tensor) -> Result<()> {
        self.require(tensor)?;
        let f = functions()?;
        // # Safety
        // The communicator is open; the tensor outlives the call, and libtorch keeps its memory
        // until the stream has passed.
        f.check(unsafe { (f.comm_sum)(self.raw, tensor.as_ptr().cast()) })
    }

    /// Enqueues on this thread's stream: replace `tensor` by rank 0's.
    ///
    /// # Errors
    /// What NCCL reports.
    pub fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        self.require(tensor)?;
        let f = functions()?;
        // SAFETY: As in `sum`.
        f.check(unsafe { (f.comm_broadcast)(self.raw, tensor.as_ptr().cast()) })
    }

    /// Marks the end of the work enqueued so far on this thread's stream, for [`Comm::waits`].
    ///
    /// # Errors
    /// What CUDA reports.
    pub fn mark(&self) -> Result<()> {
        let f = functions()?;
        // SAFETY: The communicator is open.
        f.check(unsafe { (f.comm_mark)(self.raw) })
    }

    /// How long the oldest mark has been pending; zero if there is none. May be called from any
    /// thread.
    ///
    /// # Errors
    /// What NCCL or CUDA report of work done before.
    pub fn waits(&self) -> Result<Duration> {
        let f = functions()?;
        let mut milliseconds = 0;
        // SAFETY: The communicator is open, and the number outlives the call.
        f.check(unsafe { (f.comm_waits)(self.raw, &raw mut milliseconds) })?;
        Ok(Duration::from_millis(milliseconds.unsigned_abs()))
    }

    /// Aborts the sums that the device is waiting for; their tensors are then invalid. It may
    /// never return. May be called from any thread.
    pub fn abort(&self) {
        if let Ok(f) = functions() {
            // SAFETY: The communicator is never freed.
            unsafe { (f.comm_abort)(self.raw) }
        }
    }
}
