//! Normalisation of images in front of a network, and its gradient (framework/cuda/ends.h).

use super::support::{empty_like_in, has_kernels, is_contiguous};
use crate::cuda::{Grid, kernels};
use crate::shim::is_channels_last;
use tch::{Kind, Tensor};

/// Whether these are fp32 `[1, C, 1, 1]` for the channels of `xs`.
fn are_per_channel(all: &[&Tensor], xs: &Tensor) -> bool {
    all.iter().all(|t| is_contiguous(t, Kind::Float, &[1, xs.size()[1], 1, 1], xs.device()))
}

/// (`xs` - `mean`) / `std` in `kind`, for images `[N, C, H, W]` and `[1, C, 1, 1]`.
pub(crate) fn normalize(xs: &Tensor, mean: &Tensor, std: &Tensor, kind: Kind) -> Option<Tensor> {
    let applies = xs.dim() == 4
        && xs.kind() == Kind::Float
        && matches!(kind, Kind::Float | Kind::BFloat16)
        && is_channels_last(xs)
        && !xs.requires_grad()
        && has_kernels(xs.device())
        && are_per_channel(&[mean, std], xs);
    if !applies {
        return None;
    }
    let (n, c, out) = (xs.numel() as i64, xs.size()[1] as i32, empty_like_in(xs, kind));
    kernels::normalize(Grid::Threads(n), xs, mean, std, &out, n, c).ok()?;
    Some(out)
}

/// `gradient` / `std` in fp32, of a gradient in bf16.
pub(crate) fn normalize_backward(gradient: &Tensor, std: &Tensor) -> Option<Tensor> {
    let applies = gradient.dim() == 4
        && gradient.kind() == Kind::BFloat16
        && is_channels_last(gradient)
        && has_kernels(gradient.device())
        && are_per_channel(&[std], gradient);
    if !applies {
        return None;
    }
    let (n, c, out) = (gradient.numel() as i64, gradient.size()[1] as i32, empty_like_in(gradient, Kind::Float));
    kernels::normalize_backward(Grid::Threads(n), gradient, std, &out, n, c).ok()?;
    Some(out)
}
