//! Batch norm with what follows it, as one pass over memory, forwards and backwards.
//!
//! For models that state their own input gradient ([`crate::model::Model::input_gradient`]). With the running statistics batch norm is an
//! affine map by channel, and with the batch's it is one too once they are known; it fuses with the ReLU behind it and with a sum. The plain forms
//! here run everywhere and are the oracle of the CUDA kernels (framework/cuda/kernels.cu), which take their place where they can. Arithmetic
//! is fp32 whatever the activations' kind.

mod batch;
mod first_conv;
mod join;
mod kernels;
#[cfg(test)]
mod tests;

pub(super) use first_conv::{backward as first_conv_backward, forward as first_conv};
pub use join::{Joined, Shortcut};

use super::norm::{BatchNorm2d, MOMENTUM};
use super::params::{EPS, Mode, Pass};
use crate::shim::batch_norm_input_gradient;
use batch::Factors;
use tch::{Kind, Tensor};

/// max(batch norm(x), 0), with what its gradient needs.
#[derive(Debug)]
pub struct Activated {
    /// `[N, C, H, W]`.
    pub out: Tensor,
    norm: Norm,
}

/// What a batch norm keeps for its gradient.
#[derive(Debug)]
enum Norm {
    /// With the running statistics: the factors by channel, `[C]`.
    Affine(Tensor),
    /// With the batch's, by libtorch: the input, the weight, the mean and the inverse deviation by channel.
    Batch(Tensor, Tensor, [Tensor; 2]),
    /// With the batch's, by kernels: the input, the weight and what the kernels found.
    Reduced(Tensor, Tensor, Factors),
}

/// Batch norm's output: x · scale + shift by channel, yet to be computed, or computed.
#[derive(Debug)]
enum Normed {
    Line(Tensor, Tensor),
    Done(Tensor),
}

impl BatchNorm2d {
    /// Batch norm of `xs`, without autograd.
    fn normed(&self, pass: &Pass, xs: &Tensor) -> (Normed, Norm) {
        if pass.mode() == Mode::Eval {
            let (scale, shift) = pass.affine(self.id);
            return (Normed::Line(scale.shallow_clone(), shift), Norm::Affine(scale));
        }
        if let Some((_, normed, norm)) = self.reduced(pass, xs, None) {
            return (normed, norm);
        }
        let [weight, bias] = [self.weight, self.bias].map(|id| pass.param(id));
        let [mean, var] = [self.mean, self.var].map(|id| Some(pass.buffer(id)));
        let (out, mean, inverse_std) = xs.native_batch_norm(Some(weight), Some(bias), mean, var, true, MOMENTUM, EPS);
        (Normed::Done(out), Norm::Batch(xs.shallow_clone(), weight.shallow_clone(), [mean, inverse_std]))
    }

    /// `xs` (+ `ys`) and its batch norm with the statistics of the batch, where the kernels apply.
    fn reduced(&self, pass: &Pass, xs: &Tensor, ys: Option<&Tensor>) -> Option<(Tensor, Normed, Norm)> {
        let [weight, bias] = [self.weight, self.bias].map(|id| pass.param(id));
        let running = [self.mean, self.var].map(|id| pass.buffer(id));
        let (sum, factors) = batch::statistics(xs, ys, [weight, bias], running)?;
        let normed = Normed::Line(factors.scale(), factors.shift());
        let norm = Norm::Reduced(sum.shallow_clone(), weight.shallow_clone(), factors);
        Some((sum, normed, norm))
    }

    /// max(batch norm(`xs`), 0), `[N, C, H, W]`, without autograd.
    pub fn activate(&self, pass: &Pass, xs: &Tensor) -> Activated {
        let (normed, norm) = self.normed(pass, xs);
        Activated { out: normed.relu(xs), norm }
    }

    /// `xs` + `ys`, and [`BatchNorm2d::activate`] of that.
    pub fn activate_sum(&self, pass: &Pass, xs: &Tensor, ys: &Tensor) -> (Tensor, Activated) {
        if pass.mode() == Mode::Eval {
            let (scale, shift) = pass.affine(self.id);
            if let Some((sum, out)) = kernels::add_affine_relu(xs, ys, &scale, &shift) {
                return (sum, Activated { out, norm: Norm::Affine(scale) });
            }
        } else if let Some((sum, normed, norm)) = self.reduced(pass, xs, Some(ys)) {
            let out = normed.relu(&sum);
            return (sum, Activated { out, norm });
        }
        let sum = xs + ys;
        let activated = self.activate(pass, &sum);
        (sum, activated)
    }
}

impl Normed {
    /// max(it, 0), where it is of `xs`.
    fn relu(self, xs: &Tensor) -> Tensor {
        match self {
            Normed::Line(scale, shift) => {
                kernels::affine_relu(xs, &scale, &shift).unwrap_or_else(|| affine_relu(xs, &scale, &shift))
            }
            Normed::Done(mut out) => out.relu_(),
        }
    }
}

impl Activated {
    /// The gradient with respect to batch norm's input, from that with respect to `out`; `other` is added to it, for an input that is used
    /// twice. `gradient` may be used up.
    pub fn input_gradient(&self, gradient: Tensor, other: Option<&Tensor>) -> Tensor {
        let found = match &self.norm {
            Norm::Affine(scale) => {
                let fused = kernels::affine_relu_backward(&gradient, &self.out, Some(scale), other);
                return fused.unwrap_or_else(|| affine_relu_backward(&gradient, &self.out, scale, other));
            }
            Norm::Reduced(xs, _, factors) => {
                batch::backward(&gradient, xs, factors, true, other, false).map(|(found, _)| found)
            }
            Norm::Batch(..) => None,
        };
        found.unwrap_or_else(|| {
            let masked = kernels::affine_relu_backward(&gradient, &self.out, None, None)
                .unwrap_or_else(|| self.out.threshold_backward(&gradient, 0.0));
            let gradient = self.norm.input_gradient(&masked);
            other.map_or_else(|| gradient.shallow_clone(), |other| &gradient + other)
        })
    }
}

impl Norm {
    /// The gradient with respect to its input, from that with respect to its output.
    fn input_gradient(&self, gradient: &Tensor) -> Tensor {
        let (xs, weight, [mean, inverse_std]) = match self {
            Norm::Affine(scale) => return (gradient * by_channel(scale)).to_kind(gradient.kind()),
            Norm::Batch(xs, weight, [mean, inverse_std]) => {
                (xs, weight, [mean.shallow_clone(), inverse_std.shallow_clone()])
            }
            Norm::Reduced(xs, weight, factors) => match batch::backward(gradient, xs, factors, false, None, false) {
                Some((found, _)) => return found,
                None => (xs, weight, [factors.mean(), factors.inverse_std()]),
            },
        };
        // The shapes are those of the forward pass.
        batch_norm_input_gradient(gradient, xs, weight, [&mean, &inverse_std], EPS)
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

fn by_channel(values: &Tensor) -> Tensor {
    values.view([1, -1, 1, 1])
}

/// max(`xs` · `scale` + `shift`, 0) with `scale`, `shift` `[C]`.
fn affine_relu(xs: &Tensor, scale: &Tensor, shift: &Tensor) -> Tensor {
    if xs.kind() == Kind::BFloat16 {
        return (xs * by_channel(scale) + by_channel(shift)).relu_().to_kind(Kind::BFloat16);
    }
    by_channel(shift).addcmul(xs, &by_channel(scale)).relu_()
}

/// `gradient` · `scale` where `out` > 0, and `other` added everywhere.
fn affine_relu_backward(gradient: &Tensor, out: &Tensor, scale: &Tensor, other: Option<&Tensor>) -> Tensor {
    let mut masked = out.threshold_backward(gradient, 0.0);
    if masked.kind() == Kind::BFloat16 {
        let scaled = masked * by_channel(scale);
        return other.map_or(scaled.shallow_clone(), |other| scaled + other).to_kind(Kind::BFloat16);
    }
    match other {
        Some(other) => other.addcmul(&masked, &by_channel(scale)),
        None => masked.g_mul_(&by_channel(scale)),
    }
}

/// One step of SGD with momentum in one pass over memory, in place, where the device allows it; whether it did.
///
/// With g = `gradient` + `decay` · `values`: `velocity` = `momentum` · `velocity` + g, and `values` falls by `rate` · `velocity`, or with `nesterov` by
/// `rate` · (g + `momentum` · `velocity`).
pub(crate) fn sgd(
    [values, gradient, velocity]: [&Tensor; 3],
    rate: &Tensor,
    [momentum, decay]: [f64; 2],
    nesterov: bool,
) -> bool {
    kernels::sgd([values, gradient, velocity], rate, [momentum, decay], nesterov).is_some()
}

/// The nearest point to `xs` + `alpha` · sign(`gradient`) between `low` and `high`; `alpha` is a scalar, or `[N, 1, 1, 1]`.
pub fn sign_step(xs: &Tensor, gradient: &Tensor, alpha: &Tensor, [low, high]: [&Tensor; 2]) -> Tensor {
    kernels::sign_step(xs, gradient, alpha, [low, high])
        .unwrap_or_else(|| (xs + gradient.sign() * alpha).maximum(low).minimum(high))
}
