//! ARD: distillation with attacked images.
//!
//! Goldblum et al., "Adversarially Robust Distillation", AAAI 2020, arXiv:1905.09747, Eq. 3.

use crate::TEACHER;
use foil::prelude::*;

/// ARD (Goldblum et al. 2020, Eq. 3). L = alpha · tau² · KL(softmax t(x)/tau ‖ softmax f(x')/tau) +
/// (1 - alpha) · CE(f(x), y), t being a frozen robust teacher.
///
/// As in the authors' code the KL is the mean over images and classes, and the clean images pass
/// through f even with alpha 1: that moves batch norm's running statistics. Needs `networks: {
/// teacher: … }`. Attack: `pgd` on `ce` with `mode: train`.
#[settings]
pub struct Ard {
    /// The teacher's share.
    #[set(default = 1.0, range = 0.0..=1.0)]
    pub alpha: f64,
    /// The temperature tau.
    #[set(default = 30.0, above = 0.0)]
    pub temperature: f64,
    /// Share of the label's weight that is spread evenly over all classes in the cross-entropy.
    #[set(default = 0.0, range = 0.0..=1.0)]
    pub label_smoothing: f64,
}

impl Loss for Ard {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Adversarial, Forward::Clean, TEACHER]
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let (teacher, attacked) = (input.logits(TEACHER)?, input.adversarial()?);
        let classes = *teacher.size().last().unwrap_or(&1) as f64;
        let apart = terms::kl(&(teacher / self.temperature), &(attacked / self.temperature));
        let distilled = apart.mean(None::<Kind>) / classes * self.temperature.powi(2);
        let natural = terms::smoothed_cross_entropy(input.clean()?, input.y(), self.label_smoothing);
        let natural = natural.mean(None::<Kind>);
        let total = &distilled * self.alpha + &natural * (1.0 - self.alpha);
        Ok(LossOutput::new(total).part("distilled", &distilled).part("natural", &natural))
    }
}

register!(dyn Loss, "ard", Ard, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{output, teacher};
    use foil::prelude::*;
    use foil::testing::assert_close;

    // kl = F.kl_div(F.log_softmax(a / tau, 1), F.softmax(t / tau, 1), reduction="mean")
    // tau ** 2 * alpha * kl + (1 - alpha) * F.cross_entropy(z, y), with the logits of testing.rs
    #[test]
    fn equals_pytorch() {
        assert_close(&output("ard", &teacher()).total, &Tensor::from(0.17296201740133466), 1e-12);
        let mixed = output("{ type: ard, alpha: 0.5, temperature: 2 }", &teacher()).total;
        assert_close(&mixed, &Tensor::from(0.29698919913245414), 1e-12);
    }
}
