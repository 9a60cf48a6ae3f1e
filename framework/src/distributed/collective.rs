//! The transport trait.

use crate::Result;
use std::time::Duration;
use tch::Tensor;

/// A way for processes to add tensors up.
///
/// The contract: every rank makes the same calls in the same order with tensors of the same shape and kind, contiguous, on
/// the CPU; the result has the same bits on every rank; a rank that is lost, or that takes longer than the world's timeout, makes the
/// call fail on all others.
pub trait Collective: Send + Sync {
    /// What it is called in records and messages.
    fn name(&self) -> &'static str;

    /// Begins to replace `tensor` by its sum over the ranks; it must be left alone until [`Pending::wait`] returns.
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

    /// How long this rank has spent in sums and broadcasts so far, the waiting for others included; zero where nobody looks at the clock.
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
