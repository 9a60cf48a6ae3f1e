//! A network's first convolution and its input gradient by CUDA kernels (framework/cuda/first_conv.h): `None` where they do not apply.

#![allow(unsafe_code)]

use super::kernels::{WIDTH, of, suits};
use crate::engine::cuda::{Argument, Grid, Kernel, THREADS};
use crate::shim::is_channels_last;
use tch::Tensor;

/// Blocks that keep a large GPU busy; in tests so few that each takes several turns.
const BLOCKS: u64 = if cfg!(test) { 2 } else { 256 };
/// The most outputs.
const OUTPUTS: i64 = 64;
/// Pixels that eight threads handle at a time.
const RUN: u64 = 8;
/// Times that many a block handles at a time.
const RUNS: u64 = THREADS as u64 / 8;

/// The convolution of `xs` `[N, 3, H, W]` or `[N, 1, H, W]`, channels-last, without a bias and without autograd: 3 x 3, stride 1, padding 1, and at most 64 outputs.
pub(in crate::nn) fn forward(xs: &Tensor, weight: &Tensor, stride_padding: [i64; 2]) -> Option<Tensor> {
    if xs.requires_grad() || weight.requires_grad() || !fits(xs, weight, stride_padding) {
        return None;
    }
    let (n, _, height, width) = xs.size4().ok()?;
    let out = Tensor::empty([n, height, width, weight.size()[0]], (xs.kind(), xs.device())).permute([0, 3, 1, 2]);
    if !suits(&[&out]) {
        return None;
    }
    let kernel = match xs.size()[1] {
        1 => of(xs.kind(), "first_conv_gray_bf16", "first_conv_gray_f32")?,
        _ => of(xs.kind(), "first_conv_bf16", "first_conv_f32")?,
    };
    // # Safety
    // `fits` and `suits` have checked the three.
    unsafe { launch(kernel, [xs, weight, &out], xs, weight) }?;
    Some(out)
}

/// The gradient with respect to `xs`, of which only shape, kind and strides count, for such a convolution.
pub(in crate::nn) fn backward(
    d_out: &Tensor,
    xs: &Tensor,
    weight: &Tensor,
    stride_padding: [i64; 2],
) -> Option<Tensor> {
    let (n, _, height, width) = xs.size4().ok()?;
    let alike = d_out.size() == [n, weight.size()[0], height, width] && d_out.kind() == xs.kind();
    if !alike || d_out.device() != xs.device() || !fits(xs, weight, stride_padding) || !suits(&[d_out]) {
        return None;
    }
    let kernel = match xs.size()[1] {
        1 => of(xs.kind(), "first_conv_gray_backward_bf16", "first_conv_gray_backward_f32")?,
        _ => of(xs.kind(), "first_conv_backward_bf16", "first_conv_backward_f32")?,
    };
    let out = xs.empty_like();
    // # Safety
    // `fits` and `suits` have checked the three.
    unsafe { launch(kernel, [d_out, weight, &out], xs, weight) }?;
    Some(out)
}

/// Whether it is a first convolution, with images and weight of one kind and in layouts that the kernels know.
fn fits(xs: &Tensor, weight: &Tensor, [stride, padding]: [i64; 2]) -> bool {
    let (images, size) = (xs.size(), weight.size());
    let first = images.len() == 4 && [1, 3].contains(&images[1]) && size.len() == 4 && size[1..] == [images[1], 3, 3];
    first
        && (stride, padding) == (1, 1)
        && size[0] <= OUTPUTS
        && size[0] % WIDTH == 0
        // Rows and runs are counted in 32 bits.
        && images[0] * images[2] * (images[3] + 1) < 1 << 31
        && (weight.kind(), weight.device()) == (xs.kind(), xs.device())
        && is_channels_last(xs)
        && (weight.is_contiguous() || is_channels_last(weight))
}

/// # Safety
/// `numbers` are the kernel's input, `weight` and its output, of one kind: images of `xs`'s sizes, channels-last, with its channels where they
/// are the network's and the weight's outputs elsewhere.
unsafe fn launch(kernel: Kernel, numbers: [&Tensor; 3], xs: &Tensor, weight: &Tensor) -> Option<()> {
    let (n, _, height, width) = xs.size4().ok()?;
    let (rows, by) = (n * height, weight.stride());
    let parts = (rows as u64 * (width as u64).div_ceil(RUN)).div_ceil(RUNS).max(1);
    let at_once = parts.div_ceil(BLOCKS);
    let ints = [height, width, weight.size()[0], by[1], by[2], by[3], rows, at_once as i64];
    let ints = ints.map(|int| Argument::from(int as i32));
    let arguments = [&numbers.map(Argument::from)[..], &ints].concat();
    // # Safety
    // The declaration is (T*, T*, T*, eight of int), by this function's contract; the weight's outputs are 9 numbers apart for each channel in either layout.
    unsafe { kernel.launch(Grid::Blocks([parts.div_ceil(at_once) as i64, 1]), &arguments) }.ok()
}
