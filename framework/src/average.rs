//! The average trait: a network that follows the trained one and is evaluated in its place.
//!
//! Robust networks are better when their weights are averaged over the training. The trained
//! weights do everything in a step; what is measured, selected, saved and exported is the average.
//! Whatever kind of average it is, it moves towards the weights by some rate from 0 to 1,
//! v = v + rate · (w - v), after an update or after an epoch; so an average is a rate.

use crate::scheduler::{Clock, Progress};
use foil_macros::settings;
use tch::Tensor;

/// Where the average takes batch norm's running statistics from.
#[settings]
#[derive(Copy, PartialEq, Eq)]
pub enum Buffers {
    /// The trained network's, after each epoch.
    Copy,
    /// They are averaged like the weights.
    Average,
    /// They are estimated again after each epoch: one pass of the averaged network over the
    /// training images, augmented and not attacked. The mean over all images of the batches'
    /// statistics.
    Estimate,
}

/// How an average of the weights follows them.
///
/// The contract: a fixed sequence of tensor operations after an update; what changes between steps
/// is read from the clock or kept in [`Average::state`].
pub trait Average: Send {
    /// How far it moves towards the weights after an update, `[]` double on the device; `None` if
    /// it does not. With 1 it is the weights. Called once after each update.
    fn after_update(&mut self, clock: &Clock) -> Option<Tensor> {
        let _ = clock;
        None
    }

    /// How far it moves after the epoch of `progress`; `None` if it does not. A pure function.
    fn after_epoch(&self, progress: &Progress) -> Option<f64> {
        let _ = progress;
        None
    }

    /// Where batch norm's running statistics come from.
    fn buffers(&self) -> Buffers {
        Buffers::Copy
    }

    /// After how many epochs of a run of `epochs` it begins; `foil check` refuses one that never
    /// does.
    fn begins(&self, epochs: u64) -> f64 {
        let _ = epochs;
        0.0
    }

    /// What it keeps between steps besides the averaged weights, by name, sharing its memory.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }
}
