//! Scale, shift and ReLU by channel in one pass over memory (framework/cuda/pointwise.h).
//!
//! Images are `[N, C, H, W]`; scales and shifts are `[C]`.

use super::by_channel;
use super::support::{per_channel, per_channel_if_any, supported_gradient, supports};
use crate::cuda::{Grid, VECTOR, kernels};
use tch::{Kind, Tensor};

/// Vectors that a thread of `affine_relu` handles.
const VECTORS_PER_THREAD: u64 = 4;

/// max(`xs` · `scale` + `shift`, 0); without a scale it is 1.
pub(in crate::nn) fn affine_relu(xs: &Tensor, scale: Option<&Tensor>, shift: &Tensor) -> Tensor {
    affine_relu_kernel(xs, scale, shift).unwrap_or_else(|| match scale {
        None => (xs + by_channel(shift)).relu_(),
        Some(scale) if xs.kind() == Kind::BFloat16 => {
            (xs * by_channel(scale) + by_channel(shift)).relu_().to_kind(Kind::BFloat16)
        }
        Some(scale) => by_channel(shift).addcmul(xs, &by_channel(scale)).relu_(),
    })
}

fn affine_relu_kernel(xs: &Tensor, scale: Option<&Tensor>, shift: &Tensor) -> Option<Tensor> {
    if !supports(&[xs]) {
        return None;
    }
    let (n, c) = (xs.numel() as i64, xs.size()[1]);
    let apart = (n as u64).div_ceil(VECTORS_PER_THREAD * c as u64) as i64 * c;
    let (scale, shift, out) = (per_channel_if_any(scale, c)?, per_channel(shift, c)?, xs.empty_like());
    let grid = Grid::Threads(apart / VECTOR);
    kernels::affine_relu(grid, xs, scale.as_ref(), &shift, &out, n, c as i32, apart).ok()?;
    Some(out)
}

/// `xs` + `ys`, and [`affine_relu`] of the sum.
pub(in crate::nn) fn add_affine_relu(
    xs: &Tensor,
    ys: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
) -> Option<(Tensor, Tensor)> {
    if !supports(&[xs, ys]) {
        return None;
    }
    let (n, c) = (xs.numel() as i64, xs.size()[1]);
    let (scale, shift, sum, out) = (per_channel(scale, c)?, per_channel(shift, c)?, xs.empty_like(), xs.empty_like());
    kernels::add_affine_relu(Grid::Threads(n / VECTOR), xs, ys, &scale, &shift, &sum, &out, n, c as i32).ok()?;
    Some((sum, out))
}

/// The input gradient of [`affine_relu`] with the output `out`: `gradient` · `scale` where
/// `out` > 0, else 0; `other` is added everywhere.
pub(in crate::nn) fn affine_relu_backward(
    gradient: &Tensor,
    out: &Tensor,
    scale: Option<&Tensor>,
    other: Option<&Tensor>,
) -> Tensor {
    affine_relu_backward_kernel(gradient, out, scale, other).unwrap_or_else(|| {
        let mut masked = out.threshold_backward(gradient, 0.0);
        match (scale, other) {
            (None, None) => masked,
            (None, Some(other)) => masked + other,
            (Some(scale), _) if masked.kind() == Kind::BFloat16 => {
                let scaled = masked * by_channel(scale);
                other.map_or(scaled.shallow_clone(), |other| scaled + other).to_kind(Kind::BFloat16)
            }
            (Some(scale), None) => masked.g_mul_(&by_channel(scale)),
            (Some(scale), Some(other)) => other.addcmul(&masked, &by_channel(scale)),
        }
    })
}

fn affine_relu_backward_kernel(
    gradient: &Tensor,
    out: &Tensor,
    scale: Option<&Tensor>,
    other: Option<&Tensor>,
) -> Option<Tensor> {
    let gradient = supported_gradient(gradient, out, other)?;
    let (n, c) = (out.numel() as i64, out.size()[1]);
    let (scale, d_xs) = (per_channel_if_any(scale, c)?, out.empty_like());
    let grid = Grid::Threads(n / VECTOR);
    kernels::affine_relu_backward(grid, &gradient, out, scale.as_ref(), other, &d_xs, n, c as i32).ok()?;
    Some(d_xs)
}

/// max(`xs` · scale + shift + `ys`, 0); with `ys_scale_shift` `ys` is first scaled and shifted too.
pub(in crate::nn) fn join_relu(
    xs: &Tensor,
    [scale, shift]: [&Tensor; 2],
    ys: &Tensor,
    ys_scale_shift: Option<[&Tensor; 2]>,
) -> Option<Tensor> {
    if !supports(&[xs, ys]) {
        return None;
    }
    let (n, c, out) = (xs.numel() as i64, xs.size()[1], xs.empty_like());
    let [scale, shift] = [per_channel(scale, c)?, per_channel(shift, c)?];
    let [ys_scale, ys_shift] = ys_scale_shift.map_or([None; 2], |of_ys| of_ys.map(Some));
    let [ys_scale, ys_shift] = [per_channel_if_any(ys_scale, c)?, per_channel_if_any(ys_shift, c)?];
    let (of_ys, grid) = ([ys_scale.as_ref(), ys_shift.as_ref()], Grid::Threads(n / VECTOR));
    kernels::join_relu(grid, xs, &scale, &shift, ys, of_ys[0], of_ys[1], &out, n, c as i32).ok()?;
    Some(out)
}

/// The gradients of [`join_relu`]'s two inputs. With masked = `gradient` + `other` where `out` > 0,
/// else 0: masked · each of `scales`; masked itself in place of one that is `None`.
pub(in crate::nn) fn join_relu_backward(
    gradient: &Tensor,
    other: Option<&Tensor>,
    out: &Tensor,
    [scale, ys_scale]: [Option<&Tensor>; 2],
) -> Option<[Tensor; 2]> {
    let gradient = supported_gradient(gradient, out, other)?;
    let (n, c) = (out.numel() as i64, out.size()[1]);
    let scales = [per_channel_if_any(scale, c)?, per_channel_if_any(ys_scale, c)?];
    let masked = scales.iter().any(Option::is_none).then(|| out.empty_like());
    let scaled = scales.each_ref().map(|scale| scale.as_ref().map(|_| out.empty_like()));
    let ([scale, ys_scale], [d_xs, d_ys]) =
        (scales.each_ref().map(Option::as_ref), scaled.each_ref().map(Option::as_ref));
    let (grid, c) = (Grid::Threads(n / VECTOR), c as i32);
    kernels::join_relu_backward(grid, &gradient, other, out, scale, ys_scale, masked.as_ref(), d_xs, d_ys, n, c)
        .ok()?;
    let [d_xs, d_ys] = scaled.map(|scaled| scaled.or_else(|| masked.as_ref().map(Tensor::shallow_clone)));
    Some([d_xs?, d_ys?])
}
