//! NCCL's sums over the ranks' GPUs (framework/cuda/nccl.cpp).

use super::functions;
use crate::{Error, Result};
use std::ffi::c_void;
use std::time::Duration;
use tch::{Device, Tensor};

/// This rank's end of what connects the ranks' GPUs. It is never closed: NCCL waits with that for
/// graphs which hold its sums, and the process's end does it too.
#[derive(Debug)]
pub struct Comm {
    raw: *mut c_void,
    device: usize,
}

// SAFETY: Sums come from the training thread and those of its backward passes, one at a time; the
// rest is made for a thread that watches: it locks itself, and NCCL lets any thread ask for errors
// and abort.
unsafe impl Send for Comm {}
// SAFETY: As above.
unsafe impl Sync for Comm {}

/// What names a [`Comm`] before it is there.
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

    /// A name that no other one has; one rank makes it for all.
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

    /// Meets the other ranks, which call it with the same `id` and a device of their own each. It
    /// waits for them without end.
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

    /// NCCL looks at memory, not at what kind of tensor it belongs to.
    fn require(&self, tensor: &Tensor) -> Result<()> {
        if tensor.device() == Device::Cuda(self.device) && tensor.is_contiguous() {
            return Ok(());
        }
        let (mine, its) = (self.device, tensor.device());
        Err(Error::new(format!(
            "a sum over the ranks takes contiguous tensors on cuda:{mine}, and this one is on {its:?}"
        )))
    }

    /// Asks this thread's stream to replace `tensor`, contiguous and on the device, by its sum over
    /// the ranks.
    ///
    /// # Errors
    /// What NCCL reports.
    pub fn sum(&self, tensor: &Tensor) -> Result<()> {
        self.require(tensor)?;
        let f = functions()?;
        // SAFETY: The communicator is open; the tensor outlives the call, and libtorch keeps its
        // memory until the stream has passed.
        f.check(unsafe { (f.comm_sum)(self.raw, tensor.as_ptr().cast()) })
    }

    /// The same, by rank 0's.
    ///
    /// # Errors
    /// What NCCL reports.
    pub fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        self.require(tensor)?;
        let f = functions()?;
        // SAFETY: As in `sum`.
        f.check(unsafe { (f.comm_broadcast)(self.raw, tensor.as_ptr().cast()) })
    }

    /// Notes the moment after all that was asked of this thread's stream, for [`Comm::waits`].
    ///
    /// # Errors
    /// What CUDA reports.
    pub fn mark(&self) -> Result<()> {
        let f = functions()?;
        // SAFETY: The communicator is open.
        f.check(unsafe { (f.comm_mark)(self.raw) })
    }

    /// How long the oldest noted moment has been awaited; nothing where there is none. From any
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

    /// Ends the sums that the device waits for, whose tensors hold nothing of worth then. It may
    /// never return; from any thread.
    pub fn abort(&self) {
        if let Ok(f) = functions() {
            // SAFETY: The communicator is never freed.
            unsafe { (f.comm_abort)(self.raw) }
        }
    }
}
