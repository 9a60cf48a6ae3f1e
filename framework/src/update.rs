//! The update trait: how a step turns the loss into a change of the weights.
//!
//! By default a step takes the gradient of the loss and hands it to the optimiser. An update may
//! instead move the weights, ask for the gradient there, and move them back (AWP, SAM), or take
//! several steps. It sees all weights as one flat tensor, whose parts have names.

use crate::Result;
use crate::nn::{Mode, Span};
use crate::scheduler::Clock;
use tch::Tensor;

/// A step's descent, as an update sees it: the images are attacked, the weights are still to be
/// changed.
pub trait Descent {
    /// All trainable values, `[P]`. They share the network's memory; change them with
    /// [`Descent::shift`] and [`Descent::step`].
    fn weights(&self) -> &Tensor;

    /// Where each parameter lies in them, in that order.
    fn spans(&self) -> &[Span];

    /// The gradient of the loss at the weights as they are, `[P]`: runs the loss's passes on this
    /// step's images. With [`Mode::Train`] batch norm's running statistics move, with
    /// [`Mode::Still`] they do not. Over several ranks it is that of the whole batch.
    ///
    /// # Errors
    /// What the loss reports, or when a rank is lost.
    fn gradient(&mut self, mode: Mode) -> Result<Tensor>;

    /// Adds `times` · `by` to the weights, `by` `[P]`.
    ///
    /// # Errors
    /// When the shapes differ.
    fn shift(&mut self, by: &Tensor, times: f64) -> Result<()>;

    /// The optimiser's step with this gradient `[P]`, from the weights as they are. Further
    /// networks that learn take theirs, with their gradients of the last [`Descent::gradient`].
    ///
    /// # Errors
    /// What the optimiser reports.
    fn step(&mut self, gradient: &Tensor) -> Result<()>;
}

/// How a step changes the weights.
///
/// The contract: a fixed sequence of tensor operations without host reads. It keeps nothing between
/// steps; what changes is read from the clock.
pub trait Update: Send {
    /// One update of the weights.
    ///
    /// # Errors
    /// What the descent reports.
    fn update(&mut self, descent: &mut dyn Descent, clock: &Clock) -> Result<()>;

    /// Whether it asks for gradients at other weights than those that were attacked. Then no pass
    /// before the update can stand in for one of the loss's.
    fn moves(&self) -> bool {
        true
    }

    /// Whether it obeys the contract, so that it can be captured in a CUDA graph.
    fn capturable(&self) -> bool {
        true
    }
}
