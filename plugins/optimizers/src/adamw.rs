//! AdamW as `torch.optim.AdamW` computes it.

use crate::Adam;
use crate::adam::AdamOptimizer;
use foil::prelude::*;

/// AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2), as `torch.optim.AdamW`.
///
/// As `adam`, but weight decay is apart from the gradient: θ = θ - lr · weight_decay · θ comes
/// first, and the gradient that m and v follow has no decay in it.
#[settings]
pub struct AdamW {
    /// Learning rate: a number or a scheduler.
    #[set(default = 1e-3.into(), range = 0.0..)]
    pub lr: Scheduled,
    /// Decay of the mean of gradients.
    #[set(default = 0.9, range = 0.0..1.0)]
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    #[set(default = 0.999, range = 0.0..1.0)]
    pub beta2: f64,
    /// Added to the denominator.
    #[set(default = 1e-8, range = 0.0..)]
    pub eps: f64,
    /// Weight decay; the learning rate multiplies it.
    #[set(default = 0.01, range = 0.0..)]
    pub weight_decay: f64,
    /// Groups of parameters without weight decay: `norm`, `bias` or both.
    #[set(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_decay: Vec<Group>,
}

impl Config<dyn Optimizer> for AdamW {
    fn build(&self, cx: &Build) -> Result<Box<dyn Optimizer>> {
        let Self { lr, beta1, beta2, eps, weight_decay, no_decay } = self.clone();
        Ok(Box::new(AdamOptimizer::new(Adam { lr, beta1, beta2, eps, weight_decay, no_decay }, true, cx)))
    }
}

register!(dyn Optimizer, "adamw", AdamW, "{ lr: 0.001, weight_decay: 0.01, no_decay: [norm, bias] }");

#[cfg(test)]
mod tests {
    use crate::testing::{grouped, trajectory};

    // as in sgd.rs, with torch.optim.AdamW([p], lr=.1, weight_decay=.1)
    #[test]
    fn equals_pytorch() {
        trajectory("{ type: adamw, lr: 0.1, weight_decay: 0.1 }", &[0.7079454627671952, -2.12850738430987]);
    }

    // as in sgd.rs, with
    // torch.optim.AdamW([{"params": [a], "weight_decay": .1}, {"params": [b],
    //     "weight_decay": 0}], lr=.1)
    #[test]
    fn groups_without_decay_equal_pytorch() {
        let adamw = "{ type: adamw, lr: 0.1, weight_decay: 0.1, no_decay: [norm] }";
        grouped(adamw, &[0.7079454627671952, -2.1901657213378956]);
    }
}
