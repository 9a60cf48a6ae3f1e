//! A network's first convolution and its input gradient (framework/cuda/first_conv.h).

use super::support::{empty_images, supports};
use crate::Result;
use crate::cuda::{Grid, THREADS, VECTOR, kernels};
use crate::shim::is_channels_last;
use tch::Tensor;

/// Blocks that keep a large GPU busy; in tests so few that each has several parts.
const BLOCKS: u64 = if cfg!(test) { 2 } else { 256 };
/// The most outputs.
const OUTPUTS: i64 = 64;
/// Pixels that eight threads handle at a time.
const RUN: u64 = 8;
/// Runs that a block handles at a time.
const RUNS: u64 = THREADS as u64 / 8;

/// The convolution of `xs` `[N, 3, H, W]` or `[N, 1, H, W]`, channels-last, without a bias and
/// without autograd: 3 x 3, stride 1, padding 1, and at most 64 outputs.
pub(in crate::nn) fn forward(xs: &Tensor, weight: &Tensor, stride_padding: [i64; 2]) -> Option<Tensor> {
    if xs.requires_grad() || weight.requires_grad() || !is_first_conv(xs, weight, stride_padding) {
        return None;
    }
    let (n, channels, height, width) = xs.size4().ok()?;
    let out = empty_images([n, weight.size()[0], height, width], xs);
    if !supports(&[&out]) {
        return None;
    }
    let launch = if channels == 1 { kernels::first_conv_gray } else { kernels::first_conv };
    run(launch, [xs, weight, &out], xs, weight)?;
    Some(out)
}

/// The gradient of [`forward`] with respect to `xs`, of which only shape, kind and strides count.
pub(in crate::nn) fn backward(
    d_out: &Tensor,
    xs: &Tensor,
    weight: &Tensor,
    stride_padding: [i64; 2],
) -> Option<Tensor> {
    let (n, channels, height, width) = xs.size4().ok()?;
    let is_alike = d_out.size() == [n, weight.size()[0], height, width] && d_out.kind() == xs.kind();
    let is_beside = d_out.device() == xs.device();
    if !is_alike || !is_beside || !is_first_conv(xs, weight, stride_padding) || !supports(&[d_out]) {
        return None;
    }
    let launch = if channels == 1 { kernels::first_conv_gray_backward } else { kernels::first_conv_backward };
    let d_xs = xs.empty_like();
    run(launch, [d_out, weight, &d_xs], xs, weight)?;
    Some(d_xs)
}

/// Whether it is a first convolution, with images and weight of one kind and in layouts that the
/// kernels know.
fn is_first_conv(xs: &Tensor, weight: &Tensor, stride_padding: [i64; 2]) -> bool {
    let (images, size) = (xs.size(), weight.size());
    let first = images.len() == 4 && [1, 3].contains(&images[1]) && size.len() == 4 && size[1..] == [images[1], 3, 3];
    first
        && stride_padding == [1, 1]
        && size[0] <= OUTPUTS
        && size[0] % VECTOR == 0
        // Rows and runs are counted in 32 bits.
        && images[0] * images[2] * (images[3] + 1) < 1 << 31
        && (weight.kind(), weight.device()) == (xs.kind(), xs.device())
        && is_channels_last(xs)
        && (weight.is_contiguous() || is_channels_last(weight))
}

type Launch = fn(Grid, &Tensor, &Tensor, &Tensor, i32, i32, i32, i32, i32, i32, i32, i32) -> Result<()>;

/// Runs a kernel on its input, `weight` and its output; `xs` has the sizes of the network's input.
fn run(launch: Launch, [input, _, output]: [&Tensor; 3], xs: &Tensor, weight: &Tensor) -> Option<()> {
    let (n, _, height, width) = xs.size4().ok()?;
    let (rows, strides) = (n * height, weight.stride());
    let parts = (rows as u64 * (width as u64).div_ceil(RUN)).div_ceil(RUNS).max(1);
    let parts_per_block = parts.div_ceil(BLOCKS);
    let grid = Grid::Blocks([parts.div_ceil(parts_per_block) as i64, 1]);
    let [height, width, outputs, rows] = [height, width, weight.size()[0], rows].map(|size| size as i32);
    let [by_channel, by_row, by_column] = [strides[1], strides[2], strides[3]].map(|stride| stride as i32);
    let at_once = parts_per_block as i32;
    launch(grid, input, weight, output, height, width, outputs, by_channel, by_row, by_column, rows, at_once).ok()
}
