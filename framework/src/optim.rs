//! The optimizer trait: one flat tensor of parameters, with the optimizer's state in our hands.

use crate::scheduler::{Clock, Progress};
use tch::Tensor;

/// Updates parameters from their gradient.
///
/// The contract: element by element, in place, as a fixed sequence of tensor operations; numbers
/// that change between steps are read from the clock.
pub trait Optimizer: Send {
    /// Allocates the state for parameters like `values` `[P]`.
    fn prepare(&mut self, values: &Tensor);

    /// One update of `values` `[P]` by `gradient` `[P]`.
    fn update(&mut self, values: &Tensor, gradient: &Tensor, clock: &Clock);

    /// The learning rate at some progress, for the log.
    fn learning_rate(&self, progress: &Progress) -> f64;

    /// Its state by name, sharing its memory.
    fn state(&self) -> Vec<(String, Tensor)>;
}
