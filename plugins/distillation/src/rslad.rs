//! RSLAD: a robust teacher's soft labels in the place of labels.
//!
//! Zi et al., "Revisiting Adversarial Robustness Distillation: Robust Soft Labels Make Student
//! Better", ICCV 2021, arXiv:2108.07969, Eq. 4 and 5.

use crate::TEACHER;
use foil::prelude::*;

/// RSLAD (Zi et al. 2021, Eq. 4). L = weight · KL(t(x) ‖ f(x')) + (1 - weight) · KL(t(x) ‖ f(x)),
/// t being a frozen robust teacher. No labels are used.
///
/// As in the authors' code a KL is the mean over images and classes, a K-th of the usual mean over
/// images (their CIFAR-100 runs take `scale: 10`), log t is taken of t + 1e-5, and f passes over x'
/// first. Needs `networks: { teacher: … }`. The attack is aimed at the teacher's prediction: `pgd`
/// with `objective: { type: kl, of: teacher }`, `start: gaussian`, `mode: eval`.
#[settings]
pub struct Rslad {
    /// Weight of the attacked images; the rest is the clean ones'.
    #[set(default = 5.0 / 6.0, range = 0.0..=1.0)]
    pub weight: f64,
    /// Factor of the whole loss.
    #[set(default = 1.0, above = 0.0)]
    pub scale: f64,
}

impl Loss for Rslad {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Adversarial, Forward::Clean, TEACHER]
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let target = input.logits(TEACHER)?.softmax(-1, None::<Kind>);
        let log_target = (&target + 1e-5).log();
        let from_target = |logits: &Tensor| {
            (&target * (&log_target - logits.log_softmax(-1, None::<Kind>))).mean(None::<Kind>) * self.scale
        };
        let (robust, natural) = (from_target(input.adversarial()?), from_target(input.clean()?));
        let total = &robust * self.weight + &natural * (1.0 - self.weight);
        Ok(LossOutput::new(total).part("robust", &robust).part("natural", &natural))
    }
}

register!(dyn Loss, "rslad", Rslad, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{output, teacher};
    use foil::prelude::*;
    use foil::testing::assert_close;

    // z, a, t = the model's clean and attacked logits and the teacher's; P = t.softmax(1)
    // kl = lambda q: (P * ((P + 1e-5).log() - F.log_softmax(q, 1))).mean()
    // 5 / 6 * kl(a) + 1 / 6 * kl(z)
    #[test]
    fn equals_pytorch() {
        assert_close(&output("rslad", &teacher()).total, &Tensor::from(0.10925504641565625), 1e-12);
        let scaled = output("{ type: rslad, scale: 10 }", &teacher()).total;
        assert_close(&scaled, &Tensor::from(1.0925504641565625), 1e-12);
    }
}
