//! MART: a boosted cross-entropy on attacked images, plus a KL that counts most where the clean
//! image is misclassified.
//!
//! Wang et al., "Improving Adversarial Robustness Requires Revisiting Misclassified Examples", ICLR
//! 2020, Eq. 7 to 11.

use foil::prelude::*;

/// MART (Wang et al. 2020, Eq. 11). L = BCE(f(x'), y) + beta · mean KL(p ‖ q) · (1 - p_y), with p =
/// softmax f(x), q = softmax f(x').
///
/// BCE (Eq. 7) is CE(f(x'), y) - log(1 - q_n) per image, n being the likeliest class of q besides
/// y. The authors' code adds small numbers, and so do we: log(1.0001 - q_n + 1e-12), log(q + 1e-12)
/// in the KL, and 1.0000001 - p_y. Gradients flow through everything, the weight included. Table
/// 9's BCE means the same. Attack: `pgd` with `start: gaussian`, `mode: eval`; for FAT-MART
/// `early_stopped_pgd` with `adversarial_first: true`.
#[settings]
pub struct Mart {
    /// Weight of the KL. 5 for the authors' ResNet-18 and in the CAT paper, 6 for their WideResNet
    /// and for FAT-MART.
    #[set(default = 5.0.into(), range = 0.0..)]
    pub beta: Scheduled,
    /// Whether attacked images pass before clean ones, as in FAT's code, not after; only batch
    /// norm's running statistics notice.
    #[set(default = false)]
    pub adversarial_first: bool,
    /// Share of the label's weight that is spread evenly over all classes in the
    /// cross-entropy of BCE.
    #[set(default = 0.0, range = 0.0..=1.0)]
    #[serde(skip_serializing_if = "foil::registry::is_zero")]
    pub label_smoothing: f64,
}

impl Loss for Mart {
    fn passes(&self) -> Vec<Forward> {
        match self.adversarial_first {
            false => vec![Forward::Clean, Forward::Adversarial],
            true => vec![Forward::Adversarial, Forward::Clean],
        }
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let (clean, adversarial, y) = (input.clean()?, input.adversarial()?, input.y());
        let q = adversarial.softmax(-1, None::<Kind>);
        let others: Tensor = 1.0001 - terms::largest_other(&q, y) + 1e-12;
        let ce = terms::smoothed_cross_entropy(adversarial, y, self.label_smoothing);
        let bce = (ce - others.log()).mean(None::<Kind>);
        let kl = terms::kl_above(clean, adversarial, 1e-12);
        let weight: Tensor = 1.000_000_1 - terms::label_probability(clean, y);
        let weighted = (kl * weight).mean(None::<Kind>);

        let total = &bce + &weighted * input.now(&self.beta);
        Ok(LossOutput::new(total).part("bce", &bce).part("weighted_kl", &weighted))
    }
}

register!(dyn Loss, "mart", Mart, "{ beta: 5 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, loss_from_yaml, loss_on};

    // By hand, logits being logs of the probabilities p = (0.5, 0.3, 0.2), q = (0.2, 0.7, 0.1), y =
    // 0, so n = 1: BCE = -ln 0.2 - ln(1.0001 - 0.7); KL = 0.5 ln(0.5/0.2) + 0.3 ln(0.3/0.7) + 0.2
    // ln(0.2/0.1); weight 0.5000001. The 1e-12 change nothing that is compared here.
    #[test]
    fn one_image_by_hand() {
        let z = |p: [f64; 3]| Tensor::from_slice2(&[p]).log();
        let output = loss_on(
            loss_from_yaml("{ type: mart }").as_ref(),
            &z([0.5, 0.3, 0.2]),
            &z([0.2, 0.7, 0.1]),
            &Tensor::from_slice(&[0i64]),
        );
        let bce = -0.2f64.ln() - (1.0001f64 - 0.7).ln();
        let kl = 0.5 * (0.5f64 / 0.2).ln() + 0.3 * (0.3f64 / 0.7).ln() + 0.2 * (0.2f64 / 0.1).ln();
        assert_close(&output.total, &Tensor::from(bce + 5.0 * kl * 0.500_000_1), 1e-10);
    }

    // By hand, two classes, p = p_y, y = 0: with weight w = 1 - p and q = (.2, .8) the KL is K = p
    // ln(p/.2) + (1 - p) ln((1 - p)/.8), so dK/dp = ln(p/.2) - ln((1 - p)/.8), and d(K w)/dp = (1 -
    // p) dK/dp - K. At p = .5: K = .223144, dK/dp = ln 4, d(K w)/dp = .470004. With a weight that
    // carries no gradient it would be .693147. dp/dz_y = p (1 - p) = .25, beta is 5, and BCE does
    // not see f(x).
    #[test]
    fn the_gradient_flows_through_the_weight() {
        let z = Tensor::from_slice2(&[[0.0f64, 0.0]]).set_requires_grad(true);
        let attacked = Tensor::from_slice2(&[[0.2f64, 0.8]]).log();
        let y = Tensor::from_slice(&[0i64]);
        let total = loss_on(loss_from_yaml("{ type: mart, beta: 5 }").as_ref(), &z, &attacked, &y).total;
        let gradient = Tensor::run_backward(&[total], &[&z], false, false)[0].double_value(&[0, 0]);
        assert!((gradient - 5.0 * 0.25 * 0.470_004).abs() < 2e-6, "{gradient}");
    }

    // Where q_n = 1 plain BCE is infinite; the code's 1.0001 makes it -ln(0.0001).
    #[test]
    fn a_certain_mistake_costs_a_finite_amount() {
        let logits = Tensor::from_slice2(&[[0.0, 200.0]]);
        let output = loss_on(loss_from_yaml("{ type: mart }").as_ref(), &logits, &logits, &Tensor::from_slice(&[0i64]));
        assert_close(&output.total, &Tensor::from(200.0 - 1e-4f64.ln()), 1e-8);
    }
}
