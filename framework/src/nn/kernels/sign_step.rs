//! A step of an L-inf attack in one pass over memory.

use super::support::has_kernels;
use crate::cuda::{Grid, kernels};
use crate::shim::is_channels_last;
use tch::{Kind, Tensor};

/// `xs` + `alpha` · sign(`gradient`), clamped between `low` and `high`; `alpha` is a scalar, or
/// `[N, 1, 1, 1]`.
pub fn sign_step(xs: &Tensor, gradient: &Tensor, alpha: &Tensor, [low, high]: [&Tensor; 2]) -> Tensor {
    sign_step_kernel(xs, gradient, alpha, [low, high])
        .unwrap_or_else(|| (xs + gradient.sign() * alpha).maximum(low).minimum(high))
}

pub(super) fn sign_step_kernel(
    xs: &Tensor,
    gradient: &Tensor,
    alpha: &Tensor,
    [low, high]: [&Tensor; 2],
) -> Option<Tensor> {
    let all = [xs, gradient, low, high];
    // Element by element, so that any one layout will do if all have it; images of one channel have
    // both.
    let are_alike = all.iter().all(|t| t.kind() == Kind::Float && t.size() == xs.size() && t.device() == xs.device());
    let lie_alike = all.iter().all(|t| t.is_contiguous()) || all.iter().all(|t| is_channels_last(t));
    let is_scalar = alpha.numel() == 1 && alpha.kind() == Kind::Double && alpha.device() == xs.device();
    if !has_kernels(xs.device()) || !are_alike || !lie_alike || !is_scalar {
        return None;
    }
    let (n, out) = (xs.numel() as i64, xs.empty_like());
    kernels::sign_step(Grid::Threads(n), xs, gradient, alpha, low, high, &out, n).ok()?;
    Some(out)
}
