//! The two ends of a network by CUDA kernels (framework/cuda/ends.h): `None` where they do not apply.

#![allow(unsafe_code)]

use super::kernels::{is_aligned, is_dense, is_new_enough, of, suits};
use crate::engine::cuda::{Grid, Kernel, arguments};
use crate::shim::is_channels_last;
use tch::{Kind, Tensor};

/// The most channels that a linear layer takes here, and the most it gives.
const CHANNELS: i64 = 2048;
const OUTPUTS: i64 = 1024;

/// Whether this is a number for each channel of `xs`.
fn is_by_channel(values: &Tensor, xs: &Tensor) -> bool {
    let channels = xs.size()[1];
    is_dense(values, Kind::Float, &[1, channels, 1, 1], xs.device())
}

/// Room for numbers of `kind` that lie as those of `xs`.
pub(super) fn lying_as(xs: &Tensor, kind: Kind) -> Tensor {
    Tensor::empty_strided(xs.size(), xs.stride(), (kind, xs.device()))
}

/// (`xs` - `mean`) / `std` in `kind`, for images `[N, C, H, W]` and `[1, C, 1, 1]`.
pub(crate) fn normalize(xs: &Tensor, mean: &Tensor, std: &Tensor, kind: Kind) -> Option<Tensor> {
    let fits = xs.dim() == 4
        && xs.kind() == Kind::Float
        && matches!(kind, Kind::Float | Kind::BFloat16)
        && is_channels_last(xs)
        && !xs.requires_grad()
        && is_new_enough(xs.device())
        && is_by_channel(mean, xs)
        && is_by_channel(std, xs);
    if !fits {
        return None;
    }
    let kernel = of(kind, "normalize_bf16", "normalize_f32")?;
    let (n, out) = (xs.numel() as i64, lying_as(xs, kind));
    let arguments = arguments![xs, mean, std, &out, n, xs.size()[1] as i32];
    // # Safety
    // The declaration is (float*, float*, float*, T*, long, int), checked above; `out` lies as `xs` does.
    unsafe { kernel.launch(Grid::Each(n), &arguments) }.ok()?;
    Some(out)
}

/// `gradient` / `std` in fp32, of a gradient in bf16.
pub(crate) fn normalize_backward(gradient: &Tensor, std: &Tensor) -> Option<Tensor> {
    let fits = gradient.dim() == 4
        && gradient.kind() == Kind::BFloat16
        && is_channels_last(gradient)
        && is_new_enough(gradient.device())
        && is_by_channel(std, gradient);
    if !fits {
        return None;
    }
    let kernel = Kernel::named("normalize_backward").ok()?;
    let (n, out) = (gradient.numel() as i64, lying_as(gradient, Kind::Float));
    let arguments = arguments![gradient, std, &out, n, gradient.size()[1] as i32];
    // # Safety
    // The declaration is (bf16*, float*, float*, long, int), checked above.
    unsafe { kernel.launch(Grid::Each(n), &arguments) }.ok()?;
    Some(out)
}

/// The pixels of an image and the outputs, where a linear layer of so many channels can be had here.
fn sizes(xs: &Tensor, weight: &Tensor) -> Option<[i64; 2]> {
    let (_, channels, height, width) = xs.size4().ok()?;
    let outputs = weight.size()[0];
    let fits = suits(&[xs])
        && channels <= CHANNELS
        && (1..=OUTPUTS).contains(&outputs)
        && is_dense(weight, xs.kind(), &[outputs, channels], xs.device())
        && is_aligned(weight);
    fits.then_some([height * width, outputs])
}

/// `weight` · (mean of `xs` over its pixels) + `bias`, `[N, K]` in fp32.
pub(in crate::nn) fn mean_linear(xs: &Tensor, weight: &Tensor, bias: &Tensor) -> Option<Tensor> {
    let [pixels, outputs] = sizes(xs, weight)?;
    if !is_dense(bias, xs.kind(), &[outputs], xs.device()) {
        return None;
    }
    let kernel = of(xs.kind(), "mean_linear_bf16", "mean_linear_f32")?;
    let (n, channels) = (xs.size()[0], xs.size()[1]);
    let out = Tensor::empty([n, outputs], (Kind::Float, xs.device()));
    let arguments = arguments![xs, weight, bias, &out, pixels as i32, channels as i32, outputs as i32];
    // # Safety
    // The declaration is (T*, T*, T*, float*, int, int, int), checked by `sizes` and above; a block for each image.
    unsafe { kernel.launch(Grid::Blocks([n, 1]), &arguments) }.ok()?;
    Some(out)
}

/// The gradient of [`mean_linear`] with respect to `xs`, of which only shape, kind and layout count; or times `scale` by channel where `xs` is positive, else 0.
pub(in crate::nn) fn mean_linear_backward(
    d_out: &Tensor,
    weight: &Tensor,
    xs: &Tensor,
    scale: Option<&Tensor>,
) -> Option<Tensor> {
    let [pixels, outputs] = sizes(xs, weight)?;
    let (n, channels) = (xs.size()[0], xs.size()[1]);
    let is_by_channel = |t: &Tensor| is_dense(t, Kind::Float, &[channels], xs.device()) && is_aligned(t);
    if !is_dense(d_out, Kind::Float, &[n, outputs], xs.device()) || !scale.is_none_or(is_by_channel) {
        return None;
    }
    let kernel = of(xs.kind(), "mean_linear_backward_bf16", "mean_linear_backward_f32")?;
    let out = xs.empty_like();
    let arguments = arguments![d_out, weight, xs, scale, &out, pixels as i32, channels as i32, outputs as i32];
    // # Safety
    // The declaration is (float*, T*, T*, float* or null, T*, int, int, int), checked as above.
    unsafe { kernel.launch(Grid::Blocks([n, 1]), &arguments) }.ok()?;
    Some(out)
}
