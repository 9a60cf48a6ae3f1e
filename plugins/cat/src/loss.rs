//! What f descends: Eq. 13.

use foil::prelude::*;

/// CAT's loss for f (Huang et al. 2021, Eq. 13):
/// mean[CE(f(X), y) · (1 - p_y(X))] + beta · KL(f(X) ‖ f(X_cali)).
///
/// Both factors of the first term are of the clean images X: their cross-entropy, weighted by how
/// unlikely their label still is (Eq. 8). X_cali enters through the KL alone. As in the authors'
/// code the weight is 1.0000001 - p_y(X), gradients flow through the weight and through both sides
/// of the KL, and f passes over X_cali first, then over X (their CIFAR scripts; the order moves
/// batch norm's running statistics, and nothing else). Needs the attack `calibrated`; the ablations
/// of Figure 4 have `pgd` on `ce`, A1 with `weighted: false` besides.
#[settings]
pub struct Cat {
    /// Weight of the KL term. 5 on CIFAR, 1 on MNIST.
    #[set(default = 5.0.into(), range = 0.0..)]
    pub beta: Scheduled,
    /// Stops the gradient through the weight 1 - p_y(X).
    #[set(default = false)]
    pub detach_weight: bool,
    /// Whether the cross-entropy is weighted by 1 - p_y(X). Without the weight the loss is
    /// TRADES's, CE(f(X), y) + beta · KL, as in the ablation A1 of Figure 4.
    #[set(default = true)]
    pub weighted: bool,
    /// Whether a clean pass in train mode follows each update, as in the authors' code (for its
    /// log; it moves batch norm's running statistics).
    #[set(default = true)]
    pub log_clean: bool,
    /// Share of the label's weight that is spread evenly over all classes in the
    /// cross-entropy.
    #[set(default = 0.0, range = 0.0..=1.0)]
    #[serde(skip_serializing_if = "foil::registry::is_zero")]
    pub label_smoothing: f64,
}

impl Loss for Cat {
    fn passes(&self) -> Vec<Forward> {
        let mut passes = vec![Forward::Adversarial, Forward::Clean];
        passes.extend(self.log_clean.then_some(Forward::CleanAfterUpdate));
        passes
    }

    fn soft_labels(&self) -> bool {
        // The weight is of one label.
        !self.weighted
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let (clean, calibrated) = (input.clean()?, input.adversarial()?);
        let natural = terms::smoothed_cross_entropy(clean, input.y(), self.label_smoothing);
        let natural = match self.weighted {
            true => ("weighted_ce", (natural * self.weight(input)?).mean(None::<Kind>)),
            false => ("natural_ce", natural.mean(None::<Kind>)),
        };
        let robust = terms::kl(clean, calibrated).mean(None::<Kind>);
        let total = &natural.1 + &robust * input.now(&self.beta);
        Ok(LossOutput::new(total).part(natural.0, &natural.1).part("kl", &robust))
    }
}

impl Cat {
    /// 1 - p_y(X), `[B]`, with the authors' 1e-7 above it.
    fn weight(&self, input: &LossInput) -> Result<Tensor> {
        let weight: Tensor = 1.000_000_1 - terms::label_probability(input.clean()?, input.y());
        Ok(if self.detach_weight { weight.detach() } else { weight })
    }
}

register!(dyn Loss, "cat", Cat, "{ beta: 5 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, loss_from_yaml, loss_on};

    fn logits(probabilities: [f64; 3]) -> Tensor {
        Tensor::from_slice2(&[probabilities]).log()
    }

    /// Eq. 13 with beta 5 for the label 0.
    fn output(clean: &Tensor, calibrated: &Tensor) -> LossOutput {
        loss_on(loss_from_yaml("{ type: cat }").as_ref(), clean, calibrated, &Tensor::from_slice(&[0i64]))
    }

    // By hand, clean p = (.5, .3, .2) and calibrated q = (.2, .7, .1): CE = ln 2 = .693147, times 1
    // - p + 1e-7 = .346574 + 7e-8; KL(p ‖ q) = .5 ln 2.5 + .3 ln(3/7) + .2 ln 2 = .342585. The
    // cross-entropy of q in place of p's would give 2.517646.
    #[test]
    fn one_image_by_hand() {
        let output = output(&logits([0.5, 0.3, 0.2]), &logits([0.2, 0.7, 0.1]));
        assert_close(&output.total, &Tensor::from(2.059_501 + 7e-8), 1e-6);
        assert_close(&output.parts[0].1, &Tensor::from(0.346_574 + 7e-8), 1e-6);
        assert_close(&output.parts[1].1, &Tensor::from(0.342_585), 1e-6);
    }

    // The same by hand without the weight: .693147 + 5 · .342585.
    #[test]
    fn without_the_weight_it_is_trades() {
        let (clean, calibrated, y) = (logits([0.5, 0.3, 0.2]), logits([0.2, 0.7, 0.1]), Tensor::from_slice(&[0i64]));
        let output = loss_on(loss_from_yaml("{ type: cat, weighted: false }").as_ref(), &clean, &calibrated, &y);
        assert_close(&output.total, &Tensor::from(2.406_072), 2e-6);
        assert_eq!(output.parts.iter().map(|part| part.0).collect::<Vec<_>>(), ["natural_ce", "kl"]);
    }

    // By hand, p = p_y(X): d/dp [-ln p · (1 - p)] = -1/p + 1 + ln p, at p = .5 -1.693147. Through
    // the softmax of two logits dp/dz_y is p (1 - p) = .25. With the weight detached it would be
    // -1/p · (1 - p) · .25 = -.25.
    #[test]
    fn the_gradient_flows_through_the_weight() {
        let z = Tensor::from_slice2(&[[0.0f64, 0.0]]).set_requires_grad(true);
        let total = output(&z, &z.detach()).total;
        let gradient = Tensor::run_backward(&[total], &[&z], false, false)[0].double_value(&[0, 0]);
        assert!((gradient - 0.25 * -1.693_147).abs() < 1e-6, "{gradient}");
    }
}
