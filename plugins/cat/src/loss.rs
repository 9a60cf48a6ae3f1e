//! What f descends: Eq. 13.

use foil::prelude::*;

/// CAT's loss for f (Huang et al. 2021, Eq. 13): mean[CE(f(X_cali), y) · (1 - p_y(X))] + beta · KL(f(X) ‖ f(X_cali)).
///
/// p_y(X) is the clean probability of the label; the authors' code adds 1e-7 to the weight, and lets gradients flow through the
/// weight and through both sides of the KL. X_cali passes first. Needs the attack `calibrated`, or any attack for the
/// ablation A2 of Figure 4.
#[settings]
pub struct Cat {
    /// Weight of the KL term. 5 on CIFAR, 1 on MNIST.
    #[set(default = 5.0.into(), range = 0.0..)]
    pub beta: Scheduled,
    /// Stops the gradient through the weight 1 - p_y(X).
    #[set(default = false)]
    pub detach_weight: bool,
    /// Whether a clean pass in train mode follows each update, as in the authors' code (for its log; it moves batch norm's
    /// running statistics).
    #[set(default = true)]
    pub log_clean: bool,
}

impl Loss for Cat {
    fn passes(&self) -> Vec<Forward> {
        let mut passes = vec![Forward::Adversarial, Forward::Clean];
        passes.extend(self.log_clean.then_some(Forward::CleanAfterUpdate));
        passes
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let (clean, calibrated) = (input.clean()?, input.adversarial()?);
        let weight: Tensor = 1.000_000_1 - terms::label_probability(clean, input.y());
        let weight = if self.detach_weight { weight.detach() } else { weight };
        let weighted = (terms::cross_entropy(calibrated, input.y()) * weight).mean(None::<Kind>);
        let robust = terms::kl(clean, calibrated).mean(None::<Kind>);
        let total = &weighted + &robust * input.now(&self.beta);
        Ok(LossOutput::new(total).part("weighted_ce", &weighted).part("kl", &robust))
    }
}

register!(dyn Loss, "cat", Cat, "{ beta: 5 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, loss_from_yaml, loss_on};

    // By hand: clean p = (0.5, 0.5), calibrated q = (0.2, 0.8), y = 0: -ln 0.2 · 0.5000001 + 5 · KL(p ‖ q).
    #[test]
    fn one_image_by_hand() {
        let z = |p: [f64; 2]| Tensor::from_slice2(&[p]).log();
        let y = Tensor::from_slice(&[0i64]);
        let output = loss_on(loss_from_yaml("{ type: cat }").as_ref(), &z([0.5, 0.5]), &z([0.2, 0.8]), &y);
        let kl = 0.5 * (0.5f64 / 0.2).ln() + 0.5 * (0.5f64 / 0.8).ln();
        assert_close(&output.total, &Tensor::from(-0.2f64.ln() * 0.500_000_1 + 5.0 * kl), 1e-12);
    }
}
