//! The transport traits: between processes, and between their devices.

use crate::Result;
use std::time::Duration;
use tch::{Device, Tensor};

/// A way for processes to add tensors up.
///
/// The contract: every rank makes the same calls in the same order with tensors of the same shape
/// and kind, contiguous, on the CPU; the result has the same bits on every rank; a rank that is
/// lost, or that takes longer than the world's timeout, makes the call fail on all others.
pub trait Collective: Send + Sync {
    /// What it is called in records and messages.
    fn name(&self) -> &'static str;

    /// Begins to replace `tensor` by its sum over the ranks; it must be left alone until
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

    /// How long this rank has spent in sums and broadcasts so far, the waiting for others included;
    /// zero where nobody looks at the clock.
    fn spent(&self) -> Duration {
        Duration::ZERO
    }

    /// Leaves the others: what they still wait for fails at once. Later calls fail.
    fn leave(&self);

    /// Leaves in good order, when all ranks have met for the last time.
    fn finish(&self) {
        self.leave();
    }

    /// Leaves a note for the other ranks, which can be read without this rank's help.
    ///
    /// # Errors
    /// When the place for notes is gone.
    fn post(&self, key: &str, note: &str) -> Result<()>;

    /// A note, if it was left; an error when the place for notes is gone.
    ///
    /// # Errors
    /// When the place for notes is gone.
    fn posted(&self, key: &str) -> Result<Option<String>>;
}

/// A sum under way.
pub trait Pending: Send {
    /// Waits until the tensor holds the sum.
    ///
    /// # Errors
    /// When a rank is lost.
    fn wait(self: Box<Self>) -> Result<()>;
}

/// A way for the ranks' devices to add tensors up without their hosts: NCCL.
///
/// The contract: as [`Collective`]'s, for contiguous tensors on the device; a call asks the
/// thread's stream and returns, so that it may be captured. A rank that is lost leaves the others'
/// devices waiting, which [`OnDevice::waits`] shows and [`OnDevice::abort`] ends.
pub(super) trait OnDevice: Send + Sync {
    /// What it is called in messages.
    fn name(&self) -> String;

    /// Replaces `tensor` by its sum over the ranks.
    fn sum(&self, tensor: &Tensor) -> Result<()>;

    /// Replaces `tensor` by rank 0's.
    fn broadcast(&self, tensor: &Tensor) -> Result<()>;

    /// Notes the moment after all that was asked of this thread's stream.
    fn mark(&self) -> Result<()>;

    /// How long the oldest noted moment has been awaited; an error when the device or the way
    /// between devices has failed. From any thread.
    fn waits(&self) -> Result<Duration>;

    /// Ends what the device waits for; what it was to make is worth nothing. From any thread, and
    /// it may never return.
    fn abort(&self);
}

/// Whether there is an [`OnDevice`], and how it begins.
pub(super) trait Opener: Send + Sync {
    /// Whether it is for tensors on `device`.
    fn takes(&self, device: Device) -> bool;

    /// Why this rank has none, if so. All ranks are asked before any opens.
    fn obstacle(&self, device: Device) -> Option<String>;

    /// What one rank says to all, so that they find each other.
    fn invitation(&self) -> Result<[u8; 128]>;

    /// Meets the other ranks; waits for them without end.
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
