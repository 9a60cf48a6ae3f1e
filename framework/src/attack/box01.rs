//! The set of points that an attack within Linf may reach.

use crate::nn::kernels::sign_step;
use tch::Tensor;

/// The intersection of the ball of radius `eps` around `x` with [0, 1], for the norm Linf.
#[derive(Debug)]
pub struct Box01 {
    low: Tensor,
    high: Tensor,
}

impl Box01 {
    /// Around `x` `[N, C, H, W]`; `eps` a scalar or `[N, 1, 1, 1]`. Without `clip` it is the ball
    /// alone.
    pub fn new(x: &Tensor, eps: &Tensor, clip: bool) -> Self {
        let (low, high) = (x - eps, x + eps);
        if clip { Self { low: low.clamp_min(0.0), high: high.clamp_max(1.0) } } else { Self { low, high } }
    }

    /// The nearest point inside to `x` + `alpha` · sign(`gradient`), in one pass where the device
    /// allows it; `alpha` a scalar or `[N, 1, 1, 1]`.
    pub fn ascend(&self, x: &Tensor, gradient: &Tensor, alpha: &Tensor) -> Tensor {
        sign_step(x, gradient, alpha, [&self.low, &self.high])
    }

    /// The nearest point inside.
    pub fn project(&self, x: &Tensor) -> Tensor {
        x.maximum(&self.low).minimum(&self.high)
    }
}
