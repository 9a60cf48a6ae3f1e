//! The input gradient of a network's first convolution by a CUDA kernel (framework/cuda/first_conv.h): `None` where it does not apply.

#![allow(unsafe_code)]

use super::kernels::{WIDTH, of, suits};
use crate::engine::cuda::{Argument, Grid};
use crate::shim::is_channels_last;
use tch::Tensor;

/// Blocks that keep a large GPU busy.
const BLOCKS: i64 = 512;
/// The most outputs.
const OUTPUTS: i64 = 64;

/// The gradient with respect to `xs` `[N, 3, H, W]`, of which only shape, kind and strides count, for a 3 x 3 convolution with stride 1 and padding 1.
pub(in crate::nn) fn backward(
    d_out: &Tensor,
    xs: &Tensor,
    weight: &Tensor,
    [stride, padding]: [i64; 2],
) -> Option<Tensor> {
    let (n, channels, height, width) = xs.size4().ok()?;
    let outputs = weight.size()[0];
    let fits = weight.size()[1..] == [3, 3, 3]
        && (channels, stride, padding) == (3, 1, 1)
        && outputs <= OUTPUTS
        && outputs % WIDTH == 0
        && d_out.size() == [n, outputs, height, width]
        && suits(&[d_out])
        && [xs, weight].iter().all(|t| t.kind() == d_out.kind() && t.device() == d_out.device())
        && is_channels_last(xs)
        && (weight.is_contiguous() || is_channels_last(weight));
    if !fits {
        return None;
    }
    let kernel = of(xs.kind(), "first_conv_backward_bf16", "first_conv_backward_f32")?;
    let (rows, by, out) = (n * height, weight.stride(), xs.empty_like());
    let at_once = (rows as u64).div_ceil(BLOCKS as u64) as i64;
    let arguments = [
        Argument::Numbers(Some(d_out)),
        Argument::Numbers(Some(weight)),
        Argument::Numbers(Some(&out)),
        Argument::Int(height as i32),
        Argument::Int(width as i32),
        Argument::Int(outputs as i32),
        Argument::Int(by[1] as i32),
        Argument::Int(by[2] as i32),
        Argument::Int(by[3] as i32),
        Argument::Long(rows),
        Argument::Int(at_once as i32),
    ];
    let blocks = (rows as u64).div_ceil(at_once.max(1) as u64) as i64;
    // # Safety
    // The declaration is (T*, T*, T*, six of int, long, int). All three are of one kind and the sizes above; the images lie channels-last, and the weight's
    // outputs are 27 numbers apart in either layout.
    unsafe { kernel.launch(Grid::Blocks([blocks, 1]), &arguments) }.ok()?;
    Some(out)
}
