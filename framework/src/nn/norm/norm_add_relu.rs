//! Batch norm, a sum and the ReLU behind it: the end of ResNet's blocks.

use super::norm_relu::{NormOutput, Saved};
use crate::nn::kernels::{self, NormGradients};
use crate::nn::{BatchNorm2d, Pass};
use tch::Tensor;

/// What a batch norm's output is added to.
#[derive(Debug, Clone, Copy)]
pub enum Shortcut<'a> {
    /// These images.
    Identity(&'a Tensor),
    /// The batch norm of these: where a block's 1 x 1 convolution changes the shape.
    Projection(&'a BatchNorm2d, &'a Tensor),
}

/// max(batch norm(x) + shortcut, 0), with what its gradient needs.
#[derive(Debug)]
pub struct NormAddRelu {
    /// `[N, C, H, W]`.
    pub out: Tensor,
    saved: Saved,
    /// What the shortcut's batch norm saves.
    projection: Option<Saved>,
}

impl BatchNorm2d {
    /// max(batch norm(`xs`) + `shortcut`, 0), `[N, C, H, W]`. Where autograd is on, it takes the
    /// gradient.
    pub fn norm_add_relu(&self, pass: &Pass, xs: &Tensor, shortcut: Shortcut) -> NormAddRelu {
        let (Shortcut::Identity(ys) | Shortcut::Projection(_, ys)) = shortcut;
        if self.needs_autograd(pass, &[xs, ys]) {
            let out = self.norm_add_relu_with_grad_fn(pass, xs, shortcut);
            return NormAddRelu { out, saved: Saved::Autograd(None), projection: None };
        }
        self.norm_add_relu_without_autograd(pass, xs, shortcut)
    }

    /// [`BatchNorm2d::norm_add_relu`] without autograd.
    pub(super) fn norm_add_relu_without_autograd(&self, pass: &Pass, xs: &Tensor, shortcut: Shortcut) -> NormAddRelu {
        let (output, saved) = self.norm(pass, xs);
        let (ys, ys_output, projection) = match shortcut {
            Shortcut::Identity(ys) => (ys, None, None),
            Shortcut::Projection(bn, ys) => {
                let (ys_output, projection) = bn.norm(pass, ys);
                (ys, Some(ys_output), Some(projection))
            }
        };
        let fused = match (&output, &ys_output) {
            (NormOutput::ScaleShift(scale, shift), None) => kernels::join_relu(xs, [scale, shift], ys, None),
            (NormOutput::ScaleShift(scale, shift), Some(NormOutput::ScaleShift(ys_scale, ys_shift))) => {
                kernels::join_relu(xs, [scale, shift], ys, Some([ys_scale, ys_shift]))
            }
            _ => None,
        };
        let out = fused.unwrap_or_else(|| {
            let ys = ys_output.map_or_else(|| ys.shallow_clone(), |output| output.compute(ys));
            (output.compute(xs) + ys).relu_().to_kind(xs.kind())
        });
        NormAddRelu { out, saved, projection }
    }
}

impl NormAddRelu {
    /// The gradients with respect to batch norm's input and the shortcut's, from that with respect
    /// to `out`, which is `gradient` + `other`.
    ///
    /// # Panics
    /// After a pass with autograd on.
    pub fn input_gradients(&self, gradient: &Tensor, other: Option<&Tensor>) -> [Tensor; 2] {
        self.backward(gradient, other, false).map(|(image, _)| image)
    }

    pub(super) fn backward(&self, gradient: &Tensor, other: Option<&Tensor>, learns: bool) -> [NormGradients; 2] {
        let scales = match (&self.saved, &self.projection) {
            (Saved::Eval(scale), None) => [Some(scale), None],
            (Saved::Eval(scale), Some(Saved::Eval(projection))) => [Some(scale), Some(projection)],
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
        let shortcut = self.projection.as_ref().map(|saved| saved.backward(&masked, learns));
        [self.saved.backward(&masked, learns), shortcut.unwrap_or_else(|| (masked.shallow_clone(), None))]
    }
}
