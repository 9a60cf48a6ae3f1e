//! Batch norm and ReLU as one pass over memory, forward and backward.
//!
//! In eval mode batch norm is an affine map by channel, and with the batch's statistics it is one
//! too once they are known; either fuses with the ReLU behind it, and with a sum in front.

use crate::nn::kernels::{self, BatchFactors, NormGradients, PartialSums, UpstreamNorm, by_channel};
use crate::nn::layers::Linear;
use crate::nn::norm::BatchNorm2d;
use crate::nn::params::{Mode, Pass};
use crate::raise;
use crate::shim::batch_norm_gradients;
use tch::Tensor;

/// max(batch norm(x), 0), with what its gradient needs.
#[derive(Debug)]
pub struct NormRelu {
    /// `[N, C, H, W]`.
    pub out: Tensor,
    pub(super) saved: Saved,
}

/// What a batch norm saves for its gradient.
#[derive(Debug)]
pub(super) enum Saved {
    /// In eval mode: the scale by channel, `[C]`.
    Eval(Tensor),
    /// In train mode, by libtorch: the input, the weight, and the mean and the inverse deviation by
    /// channel.
    Torch(Tensor, Tensor, [Tensor; 2]),
    /// In train mode, by kernels: the input, the weight, and what the kernels found.
    Kernel(Tensor, Tensor, BatchFactors),
    /// Nothing, because autograd takes the gradient; with what the gradient of a convolution behind
    /// it needs, where kernels apply.
    Autograd(Option<UpstreamNorm>),
}

/// Batch norm's output.
#[derive(Debug)]
pub(super) enum NormOutput {
    /// x · scale + shift by channel, not computed yet.
    ScaleShift(Tensor, Tensor),
    Computed(Tensor),
}

impl BatchNorm2d {
    /// max(batch norm(`xs`), 0), `[N, C, H, W]`. Where autograd is on, it takes the gradient.
    pub fn norm_relu(&self, pass: &Pass, xs: &Tensor) -> NormRelu {
        self.maybe_add_norm_relu(pass, xs, None).1
    }

    /// `xs` + `ys`, and [`BatchNorm2d::norm_relu`] of the sum.
    pub fn add_norm_relu(&self, pass: &Pass, xs: &Tensor, ys: &Tensor) -> (Tensor, NormRelu) {
        self.maybe_add_norm_relu(pass, xs, Some(ys))
    }

    fn maybe_add_norm_relu(&self, pass: &Pass, xs: &Tensor, ys: Option<&Tensor>) -> (Tensor, NormRelu) {
        let images: Vec<&Tensor> = [Some(xs), ys].into_iter().flatten().collect();
        if self.needs_autograd(pass, &images) {
            self.add_norm_relu_with_grad_fn(pass, xs, ys)
        } else {
            self.add_norm_relu_without_autograd(pass, xs, ys)
        }
    }

    /// `xs` (+ `ys`) and its activation, without autograd.
    pub(super) fn add_norm_relu_without_autograd(
        &self,
        pass: &Pass,
        xs: &Tensor,
        ys: Option<&Tensor>,
    ) -> (Tensor, NormRelu) {
        let Some(ys) = ys else {
            let (output, saved) = self.norm(pass, xs);
            return (xs.shallow_clone(), NormRelu { out: output.relu(xs), saved });
        };
        if pass.mode() == Mode::Eval {
            let (scale, shift) = pass.affine(self.id);
            if let Some((sum, out)) = kernels::add_affine_relu(xs, ys, &scale, &shift) {
                return (sum, NormRelu { out, saved: Saved::Eval(scale) });
            }
        } else if let Some((sum, output, saved)) = self.norm_by_kernels(pass, xs, Some(ys)) {
            let out = output.relu(&sum);
            return (sum, NormRelu { out, saved });
        }
        self.add_norm_relu_without_autograd(pass, &(xs + ys), None)
    }

    /// Batch norm of `xs`, without autograd.
    pub(super) fn norm(&self, pass: &Pass, xs: &Tensor) -> (NormOutput, Saved) {
        if pass.mode() == Mode::Eval {
            let (scale, shift) = pass.affine(self.id);
            return (NormOutput::ScaleShift(scale.shallow_clone(), shift), Saved::Eval(scale));
        }
        if let Some(selected) = pass.selected() {
            // Gradients are left to autograd: `Target` asks no model for its own through such a
            // pass.
            return (NormOutput::Computed(self.of_selected(pass, xs, selected)), Saved::Autograd(None));
        }
        if let Some((_, output, saved)) = self.norm_by_kernels(pass, xs, None) {
            return (output, saved);
        }
        let [weight, bias] = self.weight_and_bias(pass);
        let [mean, var] = self.running(pass).map(Some);
        let [momentum, eps] = pass.rates();
        let (out, mean, inverse_std) = xs.native_batch_norm(Some(weight), Some(bias), mean, var, true, momentum, eps);
        let saved = Saved::Torch(xs.shallow_clone(), weight.shallow_clone(), [mean, inverse_std]);
        (NormOutput::Computed(out), saved)
    }

    /// `xs` (+ `ys`) and its batch norm with the statistics of the batch, where the kernels apply.
    fn norm_by_kernels(&self, pass: &Pass, xs: &Tensor, ys: Option<&Tensor>) -> Option<(Tensor, NormOutput, Saved)> {
        // The kernels sum over the whole batch.
        if pass.selected().is_some() {
            return None;
        }
        let weight_and_bias = self.weight_and_bias(pass);
        let (sum, factors) = kernels::batch_statistics(xs, ys, weight_and_bias, self.running(pass), pass.rates())?;
        let output = NormOutput::ScaleShift(factors.scale(), factors.shift());
        let saved = Saved::Kernel(sum.shallow_clone(), weight_and_bias[0].shallow_clone(), factors);
        Some((sum, output, saved))
    }

    pub(in crate::nn) fn weight_and_bias<'a>(&self, pass: &'a Pass) -> [&'a Tensor; 2] {
        [self.weight, self.bias].map(|id| pass.param(id))
    }

    /// Running mean and variance.
    pub(super) fn running<'a>(&self, pass: &'a Pass) -> [&'a Tensor; 2] {
        [self.mean, self.var].map(|id| pass.buffer(id))
    }
}

impl NormOutput {
    /// max(batch norm(`xs`), 0), where it is the output for `xs`.
    pub(super) fn relu(self, xs: &Tensor) -> Tensor {
        match self {
            NormOutput::ScaleShift(scale, shift) => kernels::affine_relu(xs, Some(&scale), &shift),
            NormOutput::Computed(mut out) => out.relu_(),
        }
    }

    /// Batch norm(`xs`), where it is the output for `xs`.
    pub(super) fn compute(self, xs: &Tensor) -> Tensor {
        match self {
            NormOutput::ScaleShift(scale, shift) => xs * by_channel(&scale) + by_channel(&shift),
            NormOutput::Computed(out) => out,
        }
    }
}

impl NormRelu {
    /// The gradient with respect to batch norm's input, from that with respect to `out`. `other` is
    /// added to it, for an input that is used twice. `gradient` may be used up.
    ///
    /// # Panics
    /// After a pass with autograd on.
    pub fn input_gradient(&self, gradient: Tensor, other: Option<&Tensor>) -> Tensor {
        self.backward(gradient, None, other, false).0
    }

    /// [`NormRelu::input_gradient`] of [`Linear::backward_pooled`], where `out` is that layer's
    /// input.
    ///
    /// # Panics
    /// After a pass with autograd on.
    pub fn pooled_linear_input_gradient(&self, pass: &Pass, linear: &Linear, d_out: &Tensor) -> Tensor {
        let fused = match &self.saved {
            Saved::Eval(scale) => kernels::pooled_linear_backward(d_out, linear.weight(pass), &self.out, Some(scale)),
            _ => None,
        };
        fused.unwrap_or_else(|| self.input_gradient(linear.backward_pooled(pass, d_out, &self.out), None))
    }

    /// [`NormRelu::input_gradient`], where the `sums` of `gradient` may be known already; with
    /// `learns` also the gradients of weight and bias.
    pub(super) fn backward(
        &self,
        gradient: Tensor,
        sums: Option<&PartialSums>,
        other: Option<&Tensor>,
        learns: bool,
    ) -> NormGradients {
        let found = match &self.saved {
            Saved::Eval(scale) => {
                return (kernels::affine_relu_backward(&gradient, &self.out, Some(scale), other), None);
            }
            Saved::Kernel(xs, _, factors) => sums
                .and_then(|sums| kernels::backward_from_sums(sums, &gradient, xs, factors, other, learns))
                .or_else(|| kernels::batch_norm_backward(&gradient, xs, factors, true, other, learns)),
            Saved::Torch(..) | Saved::Autograd(_) => None,
        };
        found.unwrap_or_else(|| {
            let masked = kernels::affine_relu_backward(&gradient, &self.out, None, None);
            let (gradient, learned) = self.saved.backward(&masked, learns);
            (other.map_or_else(|| gradient.shallow_clone(), |other| &gradient + other), learned)
        })
    }
}

/// libtorch takes an eps, and reads it only where no statistics are saved; cuDNN wants 1e-5 or
/// more.
const ANY: f64 = 1e-5;

impl Saved {
    /// The gradient with respect to batch norm's input, from that with respect to its output.
    pub(super) fn backward(&self, gradient: &Tensor, learns: bool) -> NormGradients {
        let (xs, weight, [mean, inverse_std]) = match self {
            Saved::Autograd(_) => panic!("autograd takes the gradient of this pass"),
            Saved::Eval(scale) => return ((gradient * by_channel(scale)).to_kind(gradient.kind()), None),
            Saved::Torch(xs, weight, [mean, inverse_std]) => {
                (xs, weight, [mean.shallow_clone(), inverse_std.shallow_clone()])
            }
            Saved::Kernel(xs, weight, factors) => {
                match kernels::batch_norm_backward(gradient, xs, factors, false, None, learns) {
                    Some(found) => return found,
                    None => (xs, weight, [factors.mean(), factors.inverse_std()]),
                }
            }
        };
        // The shapes are those of the forward pass.
        raise(batch_norm_gradients(gradient, xs, weight, [&mean, &inverse_std], ANY, learns))
    }
}
