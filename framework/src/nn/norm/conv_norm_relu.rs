//! Batch norm and ReLU behind a convolution, and the gradient of both: where the convolution's own
//! kernel takes part, its numbers are read once less.

use super::autograd::supports_nodes;
use super::norm_relu::{NormOutput, NormRelu, Saved};
use crate::nn::kernels::{self, PartialSums, UpstreamNorm};
use crate::nn::layers::Conv2d;
use crate::nn::norm::BatchNorm2d;
use crate::nn::params::{Mode, Pass};
use tch::Tensor;

/// A convolution's input: any images, or a batch norm's activation, whose gradient the
/// convolution's kernel can begin.
#[derive(Debug, Clone, Copy)]
pub enum ConvInput<'a> {
    /// `[N, C, H, W]`.
    Images(&'a Tensor),
    /// Its `out`.
    NormRelu(&'a NormRelu),
}

impl<'a> From<&'a Tensor> for ConvInput<'a> {
    fn from(images: &'a Tensor) -> Self {
        ConvInput::Images(images)
    }
}

impl<'a> From<&'a NormRelu> for ConvInput<'a> {
    fn from(activated: &'a NormRelu) -> Self {
        ConvInput::NormRelu(activated)
    }
}

impl<'a> ConvInput<'a> {
    /// The images themselves, `[N, C, H, W]`.
    pub fn images(self) -> &'a Tensor {
        match self {
            ConvInput::Images(images) => images,
            ConvInput::NormRelu(activated) => &activated.out,
        }
    }

    /// The batch norm in front, where autograd is on and the kernels apply.
    pub(in crate::nn) fn upstream(self) -> Option<UpstreamNorm> {
        match self {
            ConvInput::NormRelu(NormRelu { saved: Saved::Autograd(Some(norm)), .. }) => Some(norm.shallow_clone()),
            _ => None,
        }
    }
}

/// The sum of a convolution and a residual, if it is kept; its activation; and a second
/// convolution.
type Fused = (Option<Tensor>, NormRelu, Option<Tensor>);

impl BatchNorm2d {
    /// [`BatchNorm2d::norm_relu`] of the convolution of `xs`.
    pub fn conv_norm_relu<'a>(&self, pass: &Pass, conv: &Conv2d, xs: impl Into<ConvInput<'a>>) -> NormRelu {
        let xs = xs.into();
        match self.fused(pass, [conv], xs, None, false) {
            Some((_, activated, _)) => activated,
            None => self.norm_relu(pass, &conv.forward(pass, xs.images())),
        }
    }

    /// [`BatchNorm2d::add_norm_relu`] of the convolution of `xs` and of `ys`.
    pub fn conv_add_norm_relu<'a>(
        &self,
        pass: &Pass,
        conv: &Conv2d,
        xs: impl Into<ConvInput<'a>>,
        ys: &Tensor,
    ) -> (Tensor, NormRelu) {
        let xs = xs.into();
        match self.fused(pass, [conv], xs, Some(ys), true) {
            Some((Some(sum), activated, _)) => (sum, activated),
            _ => self.add_norm_relu(pass, &conv.forward(pass, xs.images()), ys),
        }
    }

    /// The activation of [`BatchNorm2d::conv_add_norm_relu`], where nothing else needs the sum.
    pub fn conv_add_norm_relu_without_sum<'a>(
        &self,
        pass: &Pass,
        conv: &Conv2d,
        xs: impl Into<ConvInput<'a>>,
        ys: &Tensor,
    ) -> NormRelu {
        let xs = xs.into();
        match self.fused(pass, [conv], xs, Some(ys), false) {
            Some((_, activated, _)) => activated,
            None => self.add_norm_relu(pass, &conv.forward(pass, xs.images()), ys).1,
        }
    }

    /// [`BatchNorm2d::conv_norm_relu`] of the first of two convolutions of `xs`, such as a
    /// down-sampling block's, and the second.
    pub fn conv_pair_norm_relu<'a>(
        &self,
        pass: &Pass,
        convs: [&Conv2d; 2],
        xs: impl Into<ConvInput<'a>>,
    ) -> (NormRelu, Tensor) {
        let xs = xs.into();
        match self.fused(pass, convs, xs, None, false) {
            Some((_, activated, Some(other))) => (activated, other),
            _ => {
                let [out, other] = Conv2d::forward_pair(pass, convs, xs.images());
                (self.norm_relu(pass, &out), other)
            }
        }
    }

    /// The activation of the first of `convs` of `xs`, + `ys`, where the convolutions' kernel
    /// applies.
    fn fused<const K: usize>(
        &self,
        pass: &Pass,
        convs: [&Conv2d; K],
        input: ConvInput,
        ys: Option<&Tensor>,
        keeps_sum: bool,
    ) -> Option<Fused> {
        let unbiased = Conv2d::unbiased(pass, convs)?;
        let xs = input.images();
        let inputs: Vec<&Tensor> = [xs].into_iter().chain(unbiased.weights).chain(ys).collect();
        let needs_autograd = self.needs_autograd(pass, &inputs);
        if pass.selected().is_some() || (needs_autograd && !supports_nodes(pass, &[xs])) {
            return None;
        }
        let (sum, activated, other) = match pass.mode() {
            Mode::Train | Mode::Still => {
                let (outs, moments) = unbiased.forward_statistics(xs, input.upstream(), ys)?;
                let [first, other] = first_and_second(outs);
                let first = first?;
                let activated = tch::no_grad(|| self.norm_relu_from_sums(pass, &first, &moments))?;
                let (sum, activated) = if needs_autograd {
                    self.with_grad_fn(pass, &[&first], keeps_sum.then_some(&first), activated)
                } else {
                    (Some(first), activated)
                };
                (sum, activated, other)
            }
            Mode::Eval => {
                let (scale, shift) = pass.affine(self.id);
                let (sum, outs) = unbiased.forward_affine_relu(xs, [&scale, &shift], ys, keeps_sum)?;
                let [first, other] = first_and_second(outs);
                (sum, NormRelu { out: first?, saved: Saved::Eval(scale) }, other)
            }
        };
        for (conv, out) in convs.into_iter().zip([Some(&activated.out), other.as_ref()].into_iter().flatten()) {
            conv.count(pass, xs, out);
        }
        Some((sum, activated, other))
    }

    /// The activation of `xs`, of which these are the moments.
    fn norm_relu_from_sums(&self, pass: &Pass, xs: &Tensor, moments: &PartialSums) -> Option<NormRelu> {
        let learned = self.weight_and_bias(pass);
        let factors = kernels::statistics_from_sums(moments, learned, self.running(pass), pass.rates())?;
        let out = NormOutput::ScaleShift(factors.scale(), factors.shift()).relu(xs);
        Some(NormRelu { out, saved: Saved::Kernel(xs.shallow_clone(), learned[0].shallow_clone(), factors) })
    }
}

/// One or two outputs.
fn first_and_second<const K: usize>(outs: [Tensor; K]) -> [Option<Tensor>; 2] {
    let mut outs = outs.into_iter();
    [outs.next(), outs.next()]
}

impl NormRelu {
    /// [`NormRelu::input_gradient`] of the input gradient of `conv`, whose input was `out`, from
    /// that with respect to its output; plus `other`.
    ///
    /// # Panics
    /// After a pass with autograd on, and as [`Conv2d::backward`].
    pub fn conv_input_gradient(&self, pass: &Pass, conv: &Conv2d, d_out: &Tensor, other: Option<&Tensor>) -> Tensor {
        self.fused_conv_input_gradient(pass, [conv], [d_out], other)
            .unwrap_or_else(|| self.input_gradient(conv.backward(pass, d_out, &self.out), other))
    }

    /// [`NormRelu::input_gradient`] of the common input gradient of two convolutions, whose input
    /// was `out`, from those with respect to their outputs.
    ///
    /// # Panics
    /// After a pass with autograd on, and as [`Conv2d::backward`].
    pub fn conv_pair_input_gradient(&self, pass: &Pass, convs: [&Conv2d; 2], d_outs: [&Tensor; 2]) -> Tensor {
        self.fused_conv_input_gradient(pass, convs, d_outs, None)
            .unwrap_or_else(|| self.input_gradient(Conv2d::backward_pair(pass, convs, d_outs, &self.out), None))
    }

    /// The input gradient where the convolutions' kernel applies.
    fn fused_conv_input_gradient<const K: usize>(
        &self,
        pass: &Pass,
        convs: [&Conv2d; K],
        d_outs: [&Tensor; K],
        other: Option<&Tensor>,
    ) -> Option<Tensor> {
        let convs = Conv2d::unbiased(pass, convs)?;
        match &self.saved {
            Saved::Eval(scale) => convs.backward_masked(d_outs, &self.out, scale, other),
            Saved::Kernel(xs, _, factors) => {
                let (gradient, sums) = convs.backward_grad_sums(d_outs, xs, factors.scale_shift_mean().each_ref())?;
                Some(kernels::backward_from_sums(&sums, &gradient, xs, factors, other, false)?.0)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
