//! The geometry that the attacks share: the norms, their steepest directions, and the ball around
//! an image.

use crate::l1::onto_l1_ball;
use foil::attack::radius;
use foil::prelude::*;

/// What the attacks compute with a norm.
pub(crate) trait Geometry {
    /// The norm of each image's change, `[N, 1, 1, 1]`.
    fn length(self, delta: &Tensor) -> Tensor;

    /// Each change divided by its norm.
    fn unit(self, delta: &Tensor) -> Tensor;

    /// A random direction of norm 1 for each image, its numbers drawn as `name`: some pixel, or the
    /// length, reaches 1.
    fn random(self, batch: &Batch, name: &str) -> Tensor;

    /// The direction of norm 1 in which a function with this gradient grows fastest.
    fn direction(self, gradient: &Tensor) -> Tensor;
}

impl Geometry for Norm {
    fn length(self, delta: &Tensor) -> Tensor {
        let flat = delta.flatten(1, -1);
        let length = match self {
            Norm::Linf => flat.abs().amax(1, false),
            Norm::L2 => flat.square().sum_dim_intlist(1, false, None::<Kind>).sqrt(),
            Norm::L1 => flat.abs().sum_dim_intlist(1, false, None::<Kind>),
        };
        length.view([-1, 1, 1, 1])
    }

    fn unit(self, delta: &Tensor) -> Tensor {
        delta / self.length(delta).clamp_min(1e-12)
    }

    fn random(self, batch: &Batch, name: &str) -> Tensor {
        self.unit(&match self {
            Norm::Linf => batch.uniform(name) * 2.0 - 1.0,
            Norm::L2 | Norm::L1 => batch.normal(name),
        })
    }

    fn direction(self, gradient: &Tensor) -> Tensor {
        match self {
            Norm::Linf => gradient.sign(),
            Norm::L2 => self.unit(gradient),
            // All of it to the largest number, or shared by those that are as large.
            Norm::L1 => {
                let size = gradient.abs();
                let largest = size.amax([1i64, 2, 3].as_slice(), true);
                self.unit(&(gradient.sign() * size.eq_tensor(&largest)))
            }
        }
    }
}

/// Reports `norm: L1` for an attack that has no form for it.
pub(crate) fn refuse_l1(cx: &Build, norm: Norm) {
    if norm == Norm::L1 {
        let message = "is L1, for which this attack has no form";
        cx.problem("norm", message, "choose `apgd`, `apgd_t`, or `worst_of` both; in training `pgd_l1` too");
    }
}

/// A constant Linf radius over 1 is a number from the 0..255 scale.
pub(crate) fn check_radius(cx: &Build, key: &str, number: &Scheduled, norm: Norm) {
    if let (Norm::Linf, Some(value)) = (norm, number.constant())
        && value > 1.0
    {
        let shown = radius(value);
        let help = match value {
            _ if value <= 255.0 && !shown.contains('/') => format!("write `{value}/255`"),
            _ => "write it as `8/255`, or as `0.031`".to_string(),
        };
        cx.problem(key, format!("is {shown}, but images are scaled to [0, 1]"), help);
    }
}

/// The points within `eps` of `x`, and within [0, 1] if asked for.
pub(crate) enum Ball {
    Linf(Box01),
    L2 { x: Tensor, eps: Tensor, clip: bool },
    L1 { x: Tensor, eps: Tensor, clip: bool },
}

impl Ball {
    /// Around `x` `[N, C, H, W]`; `eps` a scalar.
    pub(crate) fn new(norm: Norm, x: &Tensor, eps: &Tensor, clip: bool) -> Self {
        match norm {
            Norm::Linf => Self::Linf(Box01::new(x, eps, clip)),
            Norm::L2 => Self::L2 { x: x.shallow_clone(), eps: eps.shallow_clone(), clip },
            Norm::L1 => Self::L1 { x: x.shallow_clone(), eps: eps.shallow_clone(), clip },
        }
    }

    /// A step of length `alpha` from `x` along the steepest direction of `gradient`, into the ball.
    pub(crate) fn ascend(&self, x: &Tensor, gradient: &Tensor, alpha: &Tensor) -> Tensor {
        match self {
            Self::Linf(box01) => box01.ascend(x, gradient, alpha),
            Self::L2 { .. } => self.project(&(x + Norm::L2.direction(gradient) * alpha)),
            Self::L1 { .. } => self.project(&(x + Norm::L1.direction(gradient) * alpha)),
        }
    }

    /// Into the ball and into [0, 1]; for L2 the one after the other, which is not always the
    /// nearest point of both, but it lies in both.
    pub(crate) fn project(&self, x_adv: &Tensor) -> Tensor {
        match self {
            Self::Linf(box01) => box01.project(x_adv),
            Self::L2 { x, eps, clip } => {
                let delta = x_adv - x;
                let inside = x + &delta * (eps / Norm::L2.length(&delta).clamp_min(1e-12)).clamp_max(1.0);
                if *clip { inside.clamp(0.0, 1.0) } else { inside }
            }
            Self::L1 { x, eps, clip } => {
                let inside = x + onto_l1_ball(x, &(x_adv - x), eps, *clip);
                // What is left of rounding.
                if *clip { inside.clamp(0.0, 1.0) } else { inside }
            }
        }
    }
}
