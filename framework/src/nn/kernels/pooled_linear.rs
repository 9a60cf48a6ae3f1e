//! A network's last layers, global average and linear (framework/cuda/ends.h).

use super::support::{is_aligned, is_contiguous, supports};
use crate::cuda::{Grid, kernels};
use tch::{Kind, Tensor};

/// The most channels and outputs of the kernels' linear layer.
const CHANNELS: i64 = 2048;
const OUTPUTS: i64 = 1024;

/// The pixels of an image, channels and outputs, if the kernels support such a layer.
fn sizes(xs: &Tensor, weight: &Tensor) -> Option<[i64; 3]> {
    let (_, channels, height, width) = xs.size4().ok()?;
    let outputs = weight.size()[0];
    let applies = supports(&[xs])
        && channels <= CHANNELS
        && (1..=OUTPUTS).contains(&outputs)
        && is_contiguous(weight, xs.kind(), &[outputs, channels], xs.device())
        && is_aligned(weight);
    applies.then_some([height * width, channels, outputs])
}

/// `weight` · (mean of `xs` over its pixels) + `bias`, `[N, K]` in fp32.
pub(in crate::nn) fn forward(xs: &Tensor, weight: &Tensor, bias: &Tensor) -> Option<Tensor> {
    let [pixels, channels, outputs] = sizes(xs, weight)?;
    if !is_contiguous(bias, xs.kind(), &[outputs], xs.device()) {
        return None;
    }
    let n = xs.size()[0];
    let out = Tensor::empty([n, outputs], (Kind::Float, xs.device()));
    let [pixels, channels, outputs] = [pixels, channels, outputs].map(|size| size as i32);
    kernels::mean_linear(Grid::Blocks([n, 1]), xs, weight, bias, &out, pixels, channels, outputs).ok()?;
    Some(out)
}

/// The gradient of [`forward`] with respect to `xs`, of which only shape, kind and layout count.
/// With `scale` `[C]` it is multiplied by that where `xs` > 0, and 0 elsewhere.
pub(in crate::nn) fn backward(d_out: &Tensor, weight: &Tensor, xs: &Tensor, scale: Option<&Tensor>) -> Option<Tensor> {
    let [pixels, channels, outputs] = sizes(xs, weight)?;
    let n = xs.size()[0];
    let is_scale = |t: &Tensor| is_contiguous(t, Kind::Float, &[channels], xs.device()) && is_aligned(t);
    if !is_contiguous(d_out, Kind::Float, &[n, outputs], xs.device()) || !scale.is_none_or(is_scale) {
        return None;
    }
    let d_xs = xs.empty_like();
    let [pixels, channels, outputs] = [pixels, channels, outputs].map(|size| size as i32);
    let grid = Grid::Blocks([n, 1]);
    kernels::mean_linear_backward(grid, d_out, weight, xs, scale, &d_xs, pixels, channels, outputs).ok()?;
    Some(d_xs)
}
