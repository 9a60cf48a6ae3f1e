//! Batch norm with what follows it, as one pass over memory, forwards and backwards.
//!
//! For models' forward passes, and for those that state their own input gradient ([`crate::model::Model::input_gradient`]). With the running statistics batch norm is an
//! affine map by channel, and with the batch's it is one too once they are known; it fuses with the ReLU behind it and with a sum. The plain forms
//! here run everywhere and are the oracle of the CUDA kernels (framework/cuda/kernels.cu), which take their place where they can. Arithmetic
//! is fp32 whatever the activations' kind.

mod batch;
mod conv;
mod conv_down;
mod convolved;
mod ends;
mod entering;
mod first_conv;
mod groups;
mod join;
mod kernels;
mod noise;
mod pieces;
mod slopes;
mod terms;
#[cfg(test)]
mod tests;
mod watched;
mod winograd;

pub(super) use conv::{backward as conv_backward, forward as conv};
pub(super) use conv_down::{backward as conv_down_backward, forward as conv_down};
pub(super) use ends::{mean_linear, mean_linear_backward};
pub(crate) use ends::{normalize, normalize_backward};
pub use entering::Entering;
pub(super) use first_conv::{backward as first_conv_backward, forward as first_conv};
pub use join::{Joined, Shortcut};
pub(super) use kernels::{flatten, unflatten};
pub(crate) use kernels::{is_dense, is_new_enough as has_kernels};
pub(super) use noise::noise;
pub(super) use pieces::{SOURCES, sum_pieces};
pub(crate) use slopes::{Slope, slope};
pub(crate) use terms::{CROSS_ENTROPY, LABEL_PROBABILITY, kl};

use super::layers::Linear;
use super::norm::BatchNorm2d;
use super::params::{EPS, Mode, Pass};
use crate::engine::raise;
use crate::shim::batch_norm_gradients;
use batch::Factors;
use entering::Front;
use groups::Groups;
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
    /// Nothing: autograd does. What the gradient of a convolution behind it needs to know, where kernels serve.
    Watched(Option<Front>),
}

/// The gradient of a batch norm's input, and where they are asked for those of its weight and bias.
type Gradients = (Tensor, Option<[Tensor; 2]>);

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
        if let Some(selected) = pass.selected() {
            // Gradients are left to autograd: `Target` asks no model for its own through such a
            // pass.
            return (Normed::Done(self.of_selected(pass, xs, selected)), Norm::Watched(None));
        }
        if let Some((_, normed, norm)) = self.reduced(pass, xs, None) {
            return (normed, norm);
        }
        let [weight, bias] = self.learned(pass);
        let [mean, var] = [self.mean, self.var].map(|id| Some(pass.buffer(id)));
        let (out, mean, inverse_std) =
            xs.native_batch_norm(Some(weight), Some(bias), mean, var, true, pass.momentum(), EPS);
        (Normed::Done(out), Norm::Batch(xs.shallow_clone(), weight.shallow_clone(), [mean, inverse_std]))
    }

    /// `xs` (+ `ys`) and its batch norm with the statistics of the batch, where the kernels apply.
    fn reduced(&self, pass: &Pass, xs: &Tensor, ys: Option<&Tensor>) -> Option<(Tensor, Normed, Norm)> {
        // The kernels sum over the whole batch.
        if pass.selected().is_some() {
            return None;
        }
        let [weight, bias] = self.learned(pass);
        let running = [self.mean, self.var].map(|id| pass.buffer(id));
        let (sum, factors) = batch::statistics(xs, ys, [weight, bias], running, pass.momentum())?;
        let normed = Normed::Line(factors.scale(), factors.shift());
        let norm = Norm::Reduced(sum.shallow_clone(), weight.shallow_clone(), factors);
        Some((sum, normed, norm))
    }

    /// max(batch norm(`xs`), 0), `[N, C, H, W]`. In a pass that autograd watches, it takes the gradient.
    pub fn activate(&self, pass: &Pass, xs: &Tensor) -> Activated {
        self.activated(pass, xs, None).1
    }

    /// `xs` + `ys`, and [`BatchNorm2d::activate`] of that.
    pub fn activate_sum(&self, pass: &Pass, xs: &Tensor, ys: &Tensor) -> (Tensor, Activated) {
        self.activated(pass, xs, Some(ys))
    }

    fn activated(&self, pass: &Pass, xs: &Tensor, ys: Option<&Tensor>) -> (Tensor, Activated) {
        let images: Vec<&Tensor> = [Some(xs), ys].into_iter().flatten().collect();
        if self.is_watched(pass, &images) { self.watched(pass, xs, ys) } else { self.unwatched(pass, xs, ys) }
    }

    /// `xs` (+ `ys`) and its activation, without autograd.
    fn unwatched(&self, pass: &Pass, xs: &Tensor, ys: Option<&Tensor>) -> (Tensor, Activated) {
        let Some(ys) = ys else {
            let (normed, norm) = self.normed(pass, xs);
            return (xs.shallow_clone(), Activated { out: normed.relu(xs), norm });
        };
        if pass.mode() == Mode::Eval {
            let (scale, shift) = pass.affine(self.id);
            if let Some((sum, out)) = kernels::add_affine_relu(xs, ys, &scale, &shift) {
                return (sum, Activated { out, norm: Norm::Affine(scale) });
            }
        } else if let Some((sum, normed, norm)) = self.reduced(pass, xs, Some(ys)) {
            let out = normed.relu(&sum);
            return (sum, Activated { out, norm });
        }
        self.unwatched(pass, &(xs + ys), None)
    }

    /// Weight and bias.
    fn learned<'a>(&self, pass: &'a Pass) -> [&'a Tensor; 2] {
        [self.weight, self.bias].map(|id| pass.param(id))
    }
}

impl Normed {
    /// max(it, 0), where it is of `xs`.
    fn relu(self, xs: &Tensor) -> Tensor {
        match self {
            Normed::Line(scale, shift) => {
                kernels::affine_relu(xs, Some(&scale), &shift).unwrap_or_else(|| affine_relu(xs, &scale, &shift))
            }
            Normed::Done(mut out) => out.relu_(),
        }
    }
}

impl Activated {
    /// The gradient with respect to batch norm's input, from that with respect to `out`; `other` is added to it, for an input that is used
    /// twice. `gradient` may be used up.
    ///
    /// # Panics
    /// After a pass that autograd watched.
    pub fn input_gradient(&self, gradient: Tensor, other: Option<&Tensor>) -> Tensor {
        self.backward(gradient, None, other, false).0
    }

    /// [`Activated::input_gradient`] of [`Linear::of_mean_backward`], where `out` went into that layer.
    ///
    /// # Panics
    /// As that.
    pub fn mean_gradient(&self, pass: &Pass, linear: &Linear, d_out: &Tensor) -> Tensor {
        let fused = match &self.norm {
            Norm::Affine(scale) => mean_linear_backward(d_out, linear.weight(pass), &self.out, Some(scale)),
            _ => None,
        };
        fused.unwrap_or_else(|| self.input_gradient(linear.of_mean_backward(pass, d_out, &self.out), None))
    }

    /// [`Activated::input_gradient`], where the `groups` of its sums may be known, and what it `learns`.
    fn backward(&self, gradient: Tensor, groups: Option<&Groups>, other: Option<&Tensor>, learns: bool) -> Gradients {
        let found = match &self.norm {
            Norm::Affine(scale) => {
                let fused = kernels::affine_relu_backward(&gradient, &self.out, Some(scale), other);
                return (fused.unwrap_or_else(|| affine_relu_backward(&gradient, &self.out, scale, other)), None);
            }
            Norm::Reduced(xs, _, factors) => groups
                .and_then(|groups| batch::backward_of(groups, &gradient, xs, factors, other, learns))
                .or_else(|| batch::backward(&gradient, xs, factors, true, other, learns)),
            Norm::Batch(..) | Norm::Watched(_) => None,
        };
        found.unwrap_or_else(|| {
            let masked = kernels::affine_relu_backward(&gradient, &self.out, None, None)
                .unwrap_or_else(|| self.out.threshold_backward(&gradient, 0.0));
            let (gradient, learned) = self.norm.backward(&masked, learns);
            (other.map_or_else(|| gradient.shallow_clone(), |other| &gradient + other), learned)
        })
    }
}

impl Norm {
    /// The gradient with respect to its input, from that with respect to its output.
    fn backward(&self, gradient: &Tensor, learns: bool) -> Gradients {
        let (xs, weight, [mean, inverse_std]) = match self {
            Norm::Watched(_) => panic!("autograd takes the gradient of a pass that it watches"),
            Norm::Affine(scale) => return ((gradient * by_channel(scale)).to_kind(gradient.kind()), None),
            Norm::Batch(xs, weight, [mean, inverse_std]) => {
                (xs, weight, [mean.shallow_clone(), inverse_std.shallow_clone()])
            }
            Norm::Reduced(xs, weight, factors) => match batch::backward(gradient, xs, factors, false, None, learns) {
                Some(found) => return found,
                None => (xs, weight, [factors.mean(), factors.inverse_std()]),
            },
        };
        // The shapes are those of the forward pass.
        raise(batch_norm_gradients(gradient, xs, weight, [&mean, &inverse_std], EPS, learns))
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

/// max(`xs` + `bias` by channel, 0).
pub(super) fn bias_relu(xs: &Tensor, bias: &Tensor) -> Tensor {
    kernels::affine_relu(xs, None, bias).unwrap_or_else(|| (xs + by_channel(bias)).relu_())
}

/// `gradient` where `out` > 0.
pub(super) fn relu_backward(gradient: &Tensor, out: &Tensor) -> Tensor {
    kernels::affine_relu_backward(gradient, out, None, None).unwrap_or_else(|| out.threshold_backward(gradient, 0.0))
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

/// Every batch norm with its running statistics as an affine map; `at` are the places of weights and biases in `values`, of means and variances in `stats`.
pub(super) fn fold_norms(values: &Tensor, stats: &Tensor, at: [&Tensor; 4], eps: f64) -> [Tensor; 2] {
    kernels::fold_norms(values, stats, at, eps).unwrap_or_else(|| {
        let [weight, bias, mean, var] = at;
        let of = |flat: &Tensor, at: &Tensor| flat.index_select(0, at);
        let scale = of(values, weight) * (of(stats, var) + eps).rsqrt();
        let shift = of(values, bias) - of(stats, mean) * &scale;
        [scale, shift]
    })
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
