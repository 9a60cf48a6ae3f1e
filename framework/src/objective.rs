//! What an attack ascends.
//!
//! Figure 5 of the CAT paper swaps it, so it is registered like everything else: `ce`, `kl`, `cw`,
//! `slm`.

use tch::Tensor;

/// What an objective may use besides the attacked logits.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    /// Labels `[N]`, int64; or `[N, K]`, the share of each class, for an objective that has
    /// [`Objective::soft_labels`].
    pub y: &'a Tensor,
    /// Logits `[N, K]` of the clean images, if [`Objective::needs_clean`].
    pub clean: Option<&'a Tensor>,
}

/// A number per image that an attack maximises.
pub trait Objective: Send {
    /// `logits` `[N, K]` of the attacked images to `[N]`; differentiable in `logits`.
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor;

    /// The gradient of [`Objective::value`] with respect to the logits, `[N, K]`, for an objective
    /// that can compute it in fewer operations than autograd takes; attacks ask for it at each
    /// step. `None`, the default, leaves it to autograd.
    fn logit_grad(&self, logits: &Tensor, reference: Reference) -> Option<Tensor> {
        let _ = (logits, reference);
        None
    }

    /// Whether [`Reference::clean`] is needed.
    fn needs_clean(&self) -> bool {
        false
    }

    /// Whether it has a meaning for labels `[N, K]`, which give each class a share of the image, or
    /// uses no labels; see [`Loss::soft_labels`](crate::loss::Loss::soft_labels).
    fn soft_labels(&self) -> bool {
        false
    }

    /// The network under `networks` whose logits of the clean images [`Reference::clean`] holds;
    /// `None`, the default, for the attacked model's own.
    fn network(&self) -> Option<String> {
        None
    }

    /// The smallest number of classes it is defined for.
    fn least_classes(&self) -> i64 {
        2
    }
}
