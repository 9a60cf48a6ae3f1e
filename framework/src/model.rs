//! The model trait: a network's forward pass, written in [`crate::nn`]'s layers.
//!
//! A model declares its parameters under PyTorch's `state_dict` names when it is built and computes
//! logits from images in its forward pass. It holds no tensors itself: the
//! [`Network`](crate::engine::Network) around it owns the tensors, normalises the input, and runs
//! attacks, updates and evaluations with the same code.

mod hint;

pub use hint::{Hint, Shapes};

use crate::nn::Pass;
use tch::Tensor;

/// A network's architecture.
///
/// The contract: `forward` is a fixed sequence of tensor operations that depends on the shapes
/// alone, treats the images of a batch independently except for batch norm's statistics, and keeps
/// nothing between calls.
pub trait Model: Send {
    /// Logits `[N, K]`, never probabilities, of images `[N, C, H, W]`. (A mask network returns `[N,
    /// C, H, W]` in (0, 1).)
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor;

    /// The gradient with respect to `xs` of `objective(logits)`, and the logits, for a model that
    /// can compute it faster than autograd. `d_logits` turns logits `[N, K]` into d objective / d
    /// logits `[N, K]`.
    ///
    /// `None`, the default, leaves it to autograd.
    fn input_gradient(
        &self,
        pass: &Pass,
        xs: &Tensor,
        d_logits: &dyn Fn(&Tensor) -> Tensor,
    ) -> Option<(Tensor, Tensor)> {
        let _ = (pass, xs, d_logits);
        None
    }

    /// Whether it obeys the contract, so that it can be captured in a CUDA graph; see
    /// [`crate::attack::Attack::capturable`].
    fn capturable(&self) -> bool {
        true
    }

    /// Whether it is a mask network, whose output has the image's shape; it cannot classify.
    fn is_mask(&self) -> bool {
        false
    }
}
