//! How a schedule counts time.

use foil::prelude::*;

/// How epochs are counted; codes differ, and an offset of one moves a drop of the learning rate by
/// an epoch.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Count {
    /// The first epoch is 0 (CAT).
    Epochs,
    /// The first epoch is 1 (TRADES, MART, FAT).
    EpochsFromOne,
    /// Fractional epochs at the end of each step, epoch + (step + 1)/steps: robust_overfitting.
    Steps,
}

impl Count {
    /// The time of a step.
    pub fn time(self, progress: &Progress) -> f64 {
        match self {
            Count::Epochs => progress.epoch as f64,
            Count::EpochsFromOne => progress.epoch as f64 + 1.0,
            Count::Steps => progress.epoch as f64 + (progress.step + 1) as f64 / progress.steps_per_epoch as f64,
        }
    }

    /// How much of `epochs`, or else of the run, has passed: from 0 to 1.
    pub(crate) fn share(self, progress: &Progress, epochs: Option<f64>) -> f64 {
        (self.time(progress) / epochs.unwrap_or(progress.epochs as f64)).clamp(0.0, 1.0)
    }
}
