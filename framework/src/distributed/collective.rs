//! The transport traits: between processes, and between their devices.

use crate::Result;
use std::time::Duration;
use tch::{Device, Tensor};

/// A transport that sums tensors over processes.
///
/// The contract: every rank makes the same calls in the same order with tensors of the same shape
/// and kind, contiguous, on the CPU; the result has the same bits on every rank; a rank that is
/// lost, or that takes longer than the world's timeout, makes the call fail on all others.
pub trait Collective: Send + Sync {
    /// Its name in records and messages.
    fn name(&self) -> &'static str;

    /// Starts replacing `tensor` by its sum over the ranks; it must not be touched until
    /// [`Pending::wait`] returns.
    ///
    /// # Errors
    /// When a rank is lost.
    fn start_sum(&self, tensor: &Tensor) -> Result<Box<dyn Pending>>;

    /// Replaces `tensor` by its sum over the ranks.
    ///
    /// # Errors
    /// When a rank is lost.
    fn sum(&self, tensor: &Tensor) -> Result<()> {
        self.start_sum(tensor)?.wait()
    }

    /// Replaces `tensor` by rank 0's.
    ///
    /// # Errors
    /// When a rank is lost.
    fn broadcast(&self, tensor: &Tensor) -> Result<()>;

    /// How long this rank has spent in sums and broadcasts so far, including waiting for others;
    /// zero if it is not measured.
    fn spent(&self) -> Duration {
        Duration::ZERO
    }

    /// Leaves the group: the others' pending calls fail at once, and later calls fail.
    fn leave(&self);

    /// Leaves after the last collective of all ranks.
    fn finish(&self) {
        self.leave();
    }

    /// Leaves a note for the other ranks, which they can read without this rank's help.
    ///
    /// # Errors
    /// When the store is gone.
    fn post(&self, key: &str, note: &str) -> Result<()>;

    /// A note, if one was left.
    ///
    /// # Errors
    /// When the store is gone.
    fn posted(&self, key: &str) -> Result<Option<String>>;
}

/// A sum in progress.
pub trait Pending: Send {
    /// Waits until the tensor holds the sum.
    ///
    /// # Errors
    /// When a rank is lost.
    fn wait(self: Box<Self>) -> Result<()>;
}

/// A transport that sums tensors over the ranks' devices without their hosts: NCCL.
///
/// The contract: as [`Collective`]'s, for contiguous tensors on the device; a call enqueues work
/// on the thread's stream and returns, so that it can be captured. If a rank is lost, the others'
/// devices keep waiting, which [`OnDevice::waits`] shows and [`OnDevice::abort`] ends.
pub(super) trait OnDevice: Send + Sync {
    /// Its name in messages.
    fn name(&self) -> String;

    /// Replaces `tensor` by its sum over the ranks.
    fn sum(&self, tensor: &Tensor) -> Result<()>;

    /// Replaces `tensor` by rank 0's.
    fn broadcast(&self, tensor: &Tensor) -> Result<()>;

    /// Marks the end of the work enqueued so far on this thread's stream.
    fn mark(&self) -> Result<()>;

    /// How long the oldest mark has been pending; an error if the device or the transport has
    /// failed. May be called from any thread.
    fn waits(&self) -> Result<Duration>;

    /// Aborts what the device is waiting for; its results are invalid. May be called from any
    /// thread, and may never return.
    fn abort(&self);
}

/// Whether an [`OnDevice`] is available, and how to open it.
pub(super) trait Opener: Send + Sync {
    /// Whether it handles tensors on `device`.
    fn takes(&self, device: Device) -> bool;

    /// Why it is not available on this rank, if so. All ranks are asked before any opens it.
    fn obstacle(&self, device: Device) -> Option<String>;

    /// The id that one rank sends to all, so that they find each other.
    fn invitation(&self) -> Result<[u8; 128]>;

    /// Connects to the other ranks; waits for them without a timeout.
    fn open(&self, invitation: [u8; 128], rank: usize, size: usize, device: Device) -> Result<Box<dyn OnDevice>>;
}

/// Copies `tensor` to the CPU, lets `work` change it there, and copies it back.
pub(super) fn by_host(
    transport: &dyn Collective,
    tensor: &Tensor,
    work: impl FnOnce(&dyn Collective, &Tensor) -> Result<()>,
) -> Result<()> {
    let copy = tensor.to_device(Device::Cpu).contiguous();
    work(transport, &copy)?;
    tch::no_grad(|| tensor.shallow_clone().copy_(&copy));
    Ok(())
}
