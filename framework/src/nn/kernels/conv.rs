//! Convolutions and their input gradients by foil's own kernels, with the batch norms around them.
//!
//! In bf16 these are the kernels for Hopper (framework/cuda/conv_sm90.cu, conv_down_sm90.cu), for
//! the sizes of a ResNet on 32 x 32 images, where they were measured to be faster than cuDNN:
//! docs/decisions/0016-convolution.md. In fp32 it is [`winograd`], for one convolution at a time.

use super::plain::is_plain;
use super::support::{empty_images, has_kernels};
use super::winograd::{self, Finish};
use super::{PartialSums, UpstreamNorm};
use crate::Result;
use crate::cuda::conv::{Convolution, Epilogue, is_bf16_channels_last, is_hopper};
use crate::nn::autograd::node;
use crate::raise;
use crate::shim::{channels_last, conv_input_gradient, conv_weight_gradient};
use std::array::from_fn;
use std::ffi::CStr;
use tch::Tensor;

/// `K` convolutions of the same images, without biases, that one kernel computes: one with stride
/// 1, or a down-sampling block's two.
#[derive(Debug, Clone, Copy)]
pub(in crate::nn) struct Convolutions<'a, const K: usize> {
    /// `[out, in, k, k]` each.
    pub weights: [&'a Tensor; K],
    pub stride_padding: [[i64; 2]; K],
}

impl<const K: usize> Convolutions<'_, K> {
    /// The convolutions of `xs`. Where autograd is on, with their gradients.
    pub(in crate::nn) fn forward(&self, xs: &Tensor) -> Option<[Tensor; K]> {
        let finish = Finish::Affine { residual: None, sum: None, scale_shift: None };
        let outs = tch::no_grad(|| self.run(xs, Epilogue::None).or_else(|| self.winograd(xs, finish)))?;
        self.with_grad_fn(outs, xs, None, None)
    }

    /// max(v · scale + shift, 0) of the first convolution v by channel, and the others as they are.
    /// With `residual` v is the convolution + that, and the sum comes first, if it `keeps_sum`.
    pub(in crate::nn) fn forward_affine_relu(
        &self,
        xs: &Tensor,
        [scale, shift]: [&Tensor; 2],
        residual: Option<&Tensor>,
        keeps_sum: bool,
    ) -> Option<(Option<Tensor>, [Tensor; K])> {
        let room = residual.filter(|ys| keeps_sum && has_kernels(ys.device())).map(Tensor::empty_like);
        let sum = room.as_ref();
        let finish = Finish::Affine { residual, sum, scale_shift: Some([scale, shift]) };
        let outs =
            self.run(xs, Epilogue::AffineRelu { scale, shift, residual, sum }).or_else(|| self.winograd(xs, finish))?;
        Some((room, outs))
    }

    /// The convolutions, `residual` added, with the moments of the first one. Where autograd is on,
    /// as [`Convolutions::forward`]; `upstream` is the batch norm that made `xs`.
    pub(in crate::nn) fn forward_statistics(
        &self,
        xs: &Tensor,
        upstream: Option<UpstreamNorm>,
        residual: Option<&Tensor>,
    ) -> Option<([Tensor; K], PartialSums)> {
        let input = self.supported(xs.size4().ok()?.into(), xs)?;
        let moments = PartialSums::empty(Self::output_size(input), input[3], K, xs.device())?;
        let epilogue = Epilogue::Statistics { residual, moments: &moments.sums };
        let outs = tch::no_grad(|| self.run(xs, epilogue))?;
        Some((self.with_grad_fn(outs, xs, upstream, residual)?, moments))
    }

    /// The input gradient, from those with respect to the outputs.
    pub(in crate::nn) fn backward(&self, d_outs: [&Tensor; K]) -> Option<Tensor> {
        self.run_backward(d_outs, Epilogue::None).or_else(|| self.winograd_backward(d_outs, Finish::Store))
    }

    /// The same, times `scale` by channel where `out`, the convolutions' input, is positive, else
    /// 0; plus `other`.
    pub(in crate::nn) fn backward_masked(
        &self,
        d_outs: [&Tensor; K],
        out: &Tensor,
        scale: &Tensor,
        other: Option<&Tensor>,
    ) -> Option<Tensor> {
        self.run_backward(d_outs, Epilogue::Mask { out, scale, other })
            .or_else(|| self.winograd_backward(d_outs, Finish::Mask { out, scale, other }))
    }

    /// The input gradient, and the two sums that the gradient of the batch norm in front takes of
    /// it: `xs` is that one's input, with its scale, shift and mean.
    pub(in crate::nn) fn backward_grad_sums(
        &self,
        d_outs: [&Tensor; K],
        xs: &Tensor,
        [scale, shift, mean]: [&Tensor; 3],
    ) -> Option<(Tensor, PartialSums)> {
        let input = self.supported(Self::input_size(d_outs[0])?, d_outs[0])?;
        let sums = PartialSums::empty(input, input[3], K, xs.device())?;
        let epilogue = Epilogue::GradientSums { xs, scale, shift, mean, sums: &sums.sums };
        Some((self.run_backward(d_outs, epilogue)?, sums))
    }

    /// `outs`, the convolutions of `xs` (+ `residual`), with their gradients if autograd is on.
    fn with_grad_fn(
        &self,
        outs: [Tensor; K],
        xs: &Tensor,
        upstream: Option<UpstreamNorm>,
        residual: Option<&Tensor>,
    ) -> Option<[Tensor; K]> {
        const TITLES: [&CStr; 2] = [c"conv", c"conv_down"];
        let inputs: Vec<&Tensor> = [xs].into_iter().chain(self.weights).chain(residual).collect();
        let needed: Vec<bool> = inputs.iter().map(|input| input.requires_grad()).collect();
        if !needed.contains(&true) {
            return Some(outs);
        }
        let (xs, weights) = (xs.shallow_clone(), self.weights.map(Tensor::shallow_clone));
        let stride_padding = self.stride_padding;
        let gradients = move |d_outs: Vec<Option<Tensor>>| {
            let Some(like) = d_outs.iter().flatten().next() else { return Ok(needed.iter().map(|_| None).collect()) };
            let all = d_outs.iter().map(|d_out| channels_last(d_out.as_ref().unwrap_or(&like.zeros_like())));
            let all: Vec<Tensor> = all.collect::<Result<_>>()?;
            let d_outs: [&Tensor; K] = from_fn(|i| &all[i]);
            let convs = Convolutions { weights: weights.each_ref(), stride_padding };
            let mut found = vec![needed[0].then(|| convs.input_gradient(d_outs, &xs, upstream.as_ref())).transpose()?];
            for (i, weight) in weights.iter().enumerate() {
                let [stride, padding] = stride_padding[i];
                let gradient = || conv_weight_gradient(d_outs[i], &xs, weight, stride, padding);
                found.push(needed[1 + i].then(gradient).transpose()?);
            }
            found.extend(needed.get(1 + K).map(|needed| needed.then(|| d_outs[0].shallow_clone())));
            Ok(found)
        };
        raise(node(TITLES[K - 1], &inputs, &outs.each_ref(), gradients)).try_into().ok()
    }

    /// The input gradient by the kernels, or by libtorch.
    fn input_gradient(&self, d_outs: [&Tensor; K], xs: &Tensor, upstream: Option<&UpstreamNorm>) -> Result<Tensor> {
        let with_sums =
            |norm: &UpstreamNorm| norm.conv_backward(|xs, factors| self.backward_grad_sums(d_outs, xs, factors));
        if let Some(found) = upstream.and_then(with_sums).or_else(|| self.backward(d_outs)) {
            return Ok(found);
        }
        let gradient = |i: usize| {
            let [stride, padding] = self.stride_padding[i];
            conv_input_gradient(d_outs[i], xs, self.weights[i], stride, padding)
        };
        (1..K).try_fold(gradient(0)?, |sum, i| Ok(sum + gradient(i)?))
    }

    /// The convolutions of `xs` by the kernel for Hopper.
    fn run(&self, xs: &Tensor, epilogue: Epilogue) -> Option<[Tensor; K]> {
        let input = self.supported(xs.size4().ok()?.into(), xs)?;
        let outs: [Tensor; K] = from_fn(|_| empty_images(Self::output_size(input), xs));
        let (weights, outputs) = (&self.weights, &outs.each_ref());
        Convolution { input: xs, weights, outputs, backward: false, epilogue }.launch()?;
        Some(outs)
    }

    /// Their input gradient by the kernel for Hopper.
    fn run_backward(&self, d_outs: [&Tensor; K], epilogue: Epilogue) -> Option<Tensor> {
        let input = self.supported(Self::input_size(d_outs[0])?, d_outs[0])?;
        let d_xs = empty_images(input, d_outs[0]);
        let (weights, outputs) = (&self.weights, &d_outs);
        Convolution { input: &d_xs, weights, outputs, backward: true, epilogue }.launch()?;
        Some(d_xs)
    }

    fn winograd(&self, xs: &Tensor, finish: Finish) -> Option<[Tensor; K]> {
        let ([weight], [stride_padding]) = (&self.weights[..], &self.stride_padding[..]) else { return None };
        vec![winograd::forward(xs, weight, *stride_padding, finish)?].try_into().ok()
    }

    fn winograd_backward(&self, d_outs: [&Tensor; K], finish: Finish) -> Option<Tensor> {
        let ([weight], [stride_padding]) = (&self.weights[..], &self.stride_padding[..]) else { return None };
        winograd::backward(d_outs[0], weight, *stride_padding, finish)
    }

    /// `input`, the size of the convolutions' input, if the kernel for Hopper supports it and
    /// `images`.
    fn supported(&self, input: [i64; 4], images: &Tensor) -> Option<[i64; 4]> {
        let is_supported =
            supports_sizes(input, &self.weights.map(Tensor::size), &self.stride_padding) && is_hopper(images.device());
        (is_supported && is_bf16_channels_last(images) && !is_plain()).then_some(input)
    }

    /// The size of an output for an input of this size.
    fn output_size([n, c, h, w]: [i64; 4]) -> [i64; 4] {
        if K == 1 { [n, c, h, w] } else { [n, 2 * c, h / 2, w / 2] }
    }

    /// The size of the input for an output such as this.
    fn input_size(d_out: &Tensor) -> Option<[i64; 4]> {
        let (n, c, h, w) = d_out.size4().ok()?;
        Some(if K == 1 { [n, c, h, w] } else { [n, c / 2, 2 * h, 2 * w] })
    }
}

/// Whether convolutions of images `[N, C, H, W]` with weights of these sizes are among those that
/// the kernels for Hopper are for.
fn supports_sizes([n, c, h, w]: [i64; 4], weights: &[Vec<i64>], stride_padding: &[[i64; 2]]) -> bool {
    let (outputs, last, strides) = match weights.len() {
        1 => (vec![vec![c, c, 3, 3]], 4, &[[1, 1]][..]),
        _ => (vec![vec![2 * c, c, 3, 3], vec![2 * c, c, 1, 1]], 8, &[[2, 1], [2, 0]][..]),
    };
    // Of the smallest images, a batch larger than what all multiprocessors hold at once is better
    // off with cuDNN.
    let most = if w == last { 128 } else { i64::MAX };
    [32, 16, 8, 4].contains(&w)
        && w >= last
        && h == w
        && c == 2048 / w
        && weights == outputs
        && stride_padding == strides
        && (1..=most).contains(&n)
}

#[cfg(test)]
mod tests;
