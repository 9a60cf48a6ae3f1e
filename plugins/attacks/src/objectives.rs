//! Objectives: what an attack ascends, one number per image. Gradients of a batch's sum are those of its images.

use foil::prelude::*;

/// Cross-entropy with the label: how PGD is usually run.
#[settings]
pub struct Ce {}

impl Objective for Ce {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        terms::cross_entropy(logits, reference.y)
    }
}

/// KL(softmax f(x) ‖ softmax f(x')): how far the prediction moves from the clean one (TRADES; Zhang et al. 2019, Algorithm 1).
///
/// At x' = x its gradient is zero, so an attack on it must start elsewhere. The clean logits are constant here.
#[settings]
pub struct Kl {}

impl Objective for Kl {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        match reference.clean {
            Some(clean) => terms::kl(clean, logits),
            None => panic!("the objective `kl` was given no clean logits"),
        }
    }

    fn needs_clean(&self) -> bool {
        true
    }
}

/// The margin loss of Carlini & Wagner 2017 as the CAT and FAT codes use it inside PGD.
///
/// m = z_y - max over others of z; ascended is -max(m + kappa, 0). The gradient is zero once m <= -kappa.
#[settings]
pub struct Cw {
    /// How far, in logits, an image is pushed past the decision boundary. 50 on CIFAR and 150 on MNIST in the CAT paper.
    #[set(default = 50.0, range = 0.0..)]
    pub kappa: f64,
}

impl Objective for Cw {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        let label = logits.gather(1, &reference.y.unsqueeze(1), false).squeeze_dim(1);
        let margin = label - terms::largest_other(logits, reference.y);
        -(margin + self.kappa).clamp_min(0.0)
    }
}

register!(dyn foil::objective::Objective, "ce", Ce, "{}");
register!(dyn foil::objective::Objective, "kl", Kl, "{}");
register!(dyn foil::objective::Objective, "cw", Cw, "{ kappa: 50 }");
