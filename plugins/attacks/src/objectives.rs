//! Objectives: what an attack ascends, one number per image. Gradients of a batch's sum are those
//! of its images.

use foil::prelude::*;

/// Cross-entropy with the label: how PGD is usually run.
#[settings]
pub struct Ce {}

impl Objective for Ce {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        terms::cross_entropy(logits, reference.y)
    }

    fn logit_grad(&self, logits: &Tensor, reference: Reference) -> Option<Tensor> {
        Some(terms::cross_entropy_grad(logits, reference.y))
    }

    fn soft_labels(&self) -> bool {
        true
    }
}

/// KL(softmax f(x) ‖ softmax f(x')): how far the prediction moves from the clean one (TRADES; Zhang
/// et al. 2019, Algorithm 1).
///
/// At x' = x its gradient is zero, so an attack on it must start elsewhere. The clean logits are
/// constant here.
#[settings]
pub struct Kl {
    /// The network under `networks` whose prediction for the clean image is meant; by default the
    /// attacked model's own. With `teacher` it is RSLAD's inner maximisation.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

impl Objective for Kl {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        match reference.clean {
            Some(clean) => terms::kl(clean, logits),
            None => panic!("the objective `kl` was given no clean logits"),
        }
    }

    fn logit_grad(&self, logits: &Tensor, reference: Reference) -> Option<Tensor> {
        reference.clean.map(|clean| terms::kl_grad(&clean.detach(), logits))
    }

    fn network(&self) -> Option<String> {
        self.of.clone()
    }

    fn needs_clean(&self) -> bool {
        true
    }

    fn soft_labels(&self) -> bool {
        true
    }
}

/// The margin loss of Carlini & Wagner 2017 as the CAT and FAT codes use it inside PGD.
///
/// m = z_y - max over others of z; the attack maximises -max(m + kappa, 0). The gradient is zero
/// once m <= -kappa.
#[settings]
pub struct Cw {
    /// How far, in logits, an image is pushed past the decision boundary. 50 on CIFAR and 150 on
    /// MNIST in the CAT paper.
    #[set(default = 50.0, range = 0.0..)]
    pub kappa: f64,
}

impl Objective for Cw {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        let margin = terms::margin(logits, reference.y);
        -(margin + self.kappa).clamp_min(0.0)
    }

    fn logit_grad(&self, logits: &Tensor, reference: Reference) -> Option<Tensor> {
        Some(terms::hinged_margin_grad(logits, reference.y, self.kappa))
    }
}

/// MMA's soft logit margin (Ding et al. 2020): logsumexp over the other classes of z, minus z_y.
///
/// It is above 0 exactly where the label's probability is below one half, and its gradient never
/// vanishes.
#[settings]
pub struct Slm {}

impl Objective for Slm {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        terms::soft_logit_margin(logits, reference.y)
    }

    fn logit_grad(&self, logits: &Tensor, reference: Reference) -> Option<Tensor> {
        Some(terms::soft_logit_margin_grad(logits, reference.y))
    }
}

/// Towards the class that the model finds least likely for the clean image: it maximises minus the
/// cross-entropy with it.
///
/// The targeted attack of ALP's official code (Kannan et al. 2018); labels are not used. Of equal
/// logits the first counts as the smallest.
#[settings]
pub struct LeastLikely {}

impl Objective for LeastLikely {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        match reference.clean {
            Some(clean) => -terms::cross_entropy(logits, &clean.argmin(-1, false)),
            None => panic!("the objective `least_likely` was given no clean logits"),
        }
    }

    fn logit_grad(&self, logits: &Tensor, reference: Reference) -> Option<Tensor> {
        reference.clean.map(|clean| -terms::cross_entropy_grad(logits, &clean.argmin(-1, false)))
    }

    fn needs_clean(&self) -> bool {
        true
    }

    fn soft_labels(&self) -> bool {
        true
    }
}

/// The difference of logits ratio of APGD (Croce & Hein 2020, section 4): −(z_y − largest other) /
/// (z₍₁₎ − z₍₃₎), z₍ᵢ₎ the i-th largest.
///
/// Neither a shift nor a scale of the logits changes it, so a network that only scales its logits
/// gains nothing.
#[settings]
pub struct Dlr {}

impl Objective for Dlr {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        let sorted = logits.sort(-1, true).0;
        let margin = terms::margin(logits, reference.y);
        -margin / (sorted.select(1, 0) - sorted.select(1, 2) + 1e-12)
    }

    fn least_classes(&self) -> i64 {
        3
    }
}

register!(dyn Objective, "ce", Ce, "{}");
register!(dyn Objective, "kl", Kl, "{}");
register!(dyn Objective, "cw", Cw, "{ kappa: 50 }");
register!(dyn Objective, "slm", Slm, "{}");
register!(dyn Objective, "least_likely", LeastLikely, "{}");
register!(dyn Objective, "dlr", Dlr, "{}");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, from_yaml};

    /// The value for one image with label 0.
    fn value(yaml: &str, logits: [f64; 3], clean: [f64; 3]) -> f64 {
        let [logits, clean] = [logits, clean].map(|z| Tensor::from_slice2(&[z]));
        let objective: Box<dyn Objective> = from_yaml(yaml, Kind::Double);
        let reference = Reference { y: &Tensor::from_slice(&[0i64]), clean: Some(&clean) };
        objective.value(&logits, reference).double_value(&[0])
    }

    // By hand. p = (0.5, 0.3, 0.2) and q = (0.2, 0.7, 0.1) as logs: CE = -ln 0.2; KL(p ‖ q) = sum p
    // ln(p/q); margin of (1, 3, 2) is 1 - 3 = -2; SLM = ln(0.7 + 0.1) - ln 0.2; the least likely
    // class of p is the last.
    #[test]
    fn values_by_hand() {
        let (p, q) = ([0.5f64, 0.3, 0.2].map(f64::ln), [0.2f64, 0.7, 0.1].map(f64::ln));
        let kl = 0.5 * (0.5f64 / 0.2).ln() + 0.3 * (0.3f64 / 0.7).ln() + 0.2 * (0.2f64 / 0.1).ln();
        let check = |found: f64, expected: f64| assert_close(&Tensor::from(found), &Tensor::from(expected), 1e-12);
        check(value("ce", q, p), -0.2f64.ln());
        check(value("kl", q, p), kl);
        check(value("{ type: cw, kappa: 50 }", [1.0, 3.0, 2.0], p), -48.0);
        check(value("{ type: cw, kappa: 1 }", [1.0, 3.0, 2.0], p), 0.0);
        check(value("slm", q, p), (0.8f64 / 0.2).ln());
        check(value("dlr", [1.0, 3.0, 2.0], p), (3.0 - 1.0) / (3.0 - 1.0));
        check(value("dlr", [5.0, 3.0, 1.0], p), -(5.0 - 3.0) / (5.0 - 1.0));
        check(value("least_likely", q, p), 0.1f64.ln());
    }

    // Oracle: autograd.
    #[test]
    fn logit_grads_are_autograds() {
        let random = || Tensor::randn([6, 5], (Kind::Double, tch::Device::Cpu)) * 3.0;
        let (clean, y) = (random(), Tensor::from_slice(&[0i64, 4, 2, 2, 1, 3]));
        let reference = Reference { y: &y, clean: Some(&clean) };
        for yaml in ["ce", "kl", "slm", "least_likely", "{ type: cw, kappa: 1 }", "{ type: cw, kappa: 50 }"] {
            let objective: Box<dyn Objective> = from_yaml(yaml, Kind::Double);
            let logits = random();
            // Two classes tie.
            let _ = logits.get(0).narrow(0, 2, 2).fill_(9.0);
            let logits = logits.set_requires_grad(true);
            let value = objective.value(&logits, reference).sum(Kind::Double);
            let expected = Tensor::run_backward(&[value], &[&logits], false, false).remove(0);
            assert_close(&objective.logit_grad(&logits.detach(), reference).unwrap(), &expected, 1e-12);
        }
    }

    // The margin is linear in the logits: scaled logits scale it.
    #[test]
    fn a_margin_without_kappa_scales_with_the_logits() {
        let z = [3.0, 1.0, -2.0];
        let [one, three] = [1.0, 3.0].map(|by| value("{ type: cw, kappa: 0 }", z.map(|v| v * by), z));
        assert_eq!((one, three), (-2.0, -6.0));
    }
}
