//! Batch norm, a sum and the ReLU behind it: the end of ResNet's blocks.

use super::{Gradients, Norm, Normed, by_channel, kernels};
use crate::nn::{BatchNorm2d, Pass};
use tch::Tensor;

/// What a batch norm's output is added to.
#[derive(Debug, Clone, Copy)]
pub enum Shortcut<'a> {
    /// This.
    Same(&'a Tensor),
    /// The batch norm of this.
    Normed(&'a BatchNorm2d, &'a Tensor),
}

/// max(batch norm(x) + shortcut, 0), with what its gradient needs.
#[derive(Debug)]
pub struct Joined {
    /// `[N, C, H, W]`.
    pub out: Tensor,
    norm: Norm,
    shortcut: Option<Norm>,
}

impl BatchNorm2d {
    /// max(batch norm(`xs`) + `shortcut`, 0), `[N, C, H, W]`. In a pass that autograd watches, it takes the gradient.
    pub fn join(&self, pass: &Pass, xs: &Tensor, shortcut: Shortcut) -> Joined {
        let (ys, other) = match shortcut {
            Shortcut::Same(ys) => (ys, None),
            Shortcut::Normed(bn, ys) => (ys, Some(bn)),
        };
        if self.is_watched(pass, &[xs, ys]) {
            let out = self.joined_watched(pass, xs, ys, other);
            return Joined { out, norm: Norm::Watched(None), shortcut: None };
        }
        self.joined(pass, xs, ys, other)
    }

    /// max(batch norm(`xs`) + `ys` or its batch norm, 0), without autograd.
    pub(super) fn joined(&self, pass: &Pass, xs: &Tensor, ys: &Tensor, other: Option<&BatchNorm2d>) -> Joined {
        let (normed, norm) = self.normed(pass, xs);
        let (ys_normed, shortcut) = other.map(|bn| bn.normed(pass, ys)).unzip();
        let fused = match (&normed, &ys_normed) {
            (Normed::Line(scale, shift), None) => kernels::join_relu(xs, [scale, shift], ys, None),
            (Normed::Line(scale, shift), Some(Normed::Line(ys_scale, ys_shift))) => {
                kernels::join_relu(xs, [scale, shift], ys, Some([ys_scale, ys_shift]))
            }
            _ => None,
        };
        let out = fused.unwrap_or_else(|| {
            let ys = ys_normed.map_or_else(|| ys.shallow_clone(), |normed| normed.of(ys));
            (normed.of(xs) + ys).relu_().to_kind(xs.kind())
        });
        Joined { out, norm, shortcut }
    }
}

impl Normed {
    /// It, where it is of `xs`.
    fn of(self, xs: &Tensor) -> Tensor {
        match self {
            Normed::Line(scale, shift) => xs * by_channel(&scale) + by_channel(&shift),
            Normed::Done(out) => out,
        }
    }
}

impl Joined {
    /// The gradients with respect to batch norm's input and the shortcut's, from that with respect to `out`, which is `gradient` + `other`.
    ///
    /// # Panics
    /// After a pass that autograd watched.
    pub fn input_gradients(&self, gradient: &Tensor, other: Option<&Tensor>) -> [Tensor; 2] {
        self.backward(gradient, other, false).map(|(image, _)| image)
    }

    pub(super) fn backward(&self, gradient: &Tensor, other: Option<&Tensor>, learns: bool) -> [Gradients; 2] {
        let scales = match (&self.norm, &self.shortcut) {
            (Norm::Affine(scale), None) => [Some(scale), None],
            (Norm::Affine(scale), Some(Norm::Affine(shortcut))) => [Some(scale), Some(shortcut)],
            _ => [None, None],
        };
        let masked = match kernels::join_relu_backward(gradient, other, &self.out, scales) {
            Some(found) if scales[0].is_some() => return found.map(|image| (image, None)),
            Some([masked, _]) => masked,
            None => {
                let sum = other.map_or_else(|| gradient.shallow_clone(), |other| gradient + other);
                self.out.threshold_backward(&sum, 0.0)
            }
        };
        let shortcut = self.shortcut.as_ref().map(|norm| norm.backward(&masked, learns));
        [self.norm.backward(&masked, learns), shortcut.unwrap_or_else(|| (masked.shallow_clone(), None))]
    }
}
