//! TRADES: clean cross-entropy plus a penalty for changing the prediction under attack.
//!
//! Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019,
//! arXiv:1901.08573, Eq. 5.

use foil::prelude::*;

/// TRADES (Zhang et al. 2019, Eq. 5). L = CE(f(x), y) + beta · KL(softmax f(x) ‖ softmax f(x')),
/// means over the batch.
///
/// The KL is the authors' `kl_div(log_softmax(f(x')), softmax(f(x)))`; Table 9 of the CAT paper
/// writes its arguments in the opposite order. Like their code, this runs the clean images twice,
/// so batch norm's running statistics move twice. (Without dropout one pass is enough; it is
/// counted twice.) Gradients flow through both arguments. Attack: `pgd` with `objective: kl`,
/// `start: gaussian`, `mode: eval`.
#[settings]
pub struct Trades {
    /// Weight of the robust term, the paper's 1/lambda. 6 on CIFAR, 1 on MNIST.
    #[set(default = 6.0.into(), range = 0.0..)]
    pub beta: Scheduled,
    /// One clean pass in place of the code's two: equal except for dropout and running statistics.
    #[set(default = false)]
    pub single_clean_pass: bool,
    /// Stops the gradient through the clean prediction in the KL, which makes it a fixed target.
    #[set(default = false)]
    pub detach_target: bool,
    /// Passes the attacked images before the clean ones, as the code of TRADES-AWP does. Only batch
    /// norm's running statistics see the order.
    #[set(default = false)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attacked_first: bool,
    /// Share of the label's weight that is spread evenly over all classes in the
    /// cross-entropy.
    #[set(default = 0.0, range = 0.0..=1.0)]
    #[serde(skip_serializing_if = "foil::registry::is_zero")]
    pub label_smoothing: f64,
}

impl Loss for Trades {
    fn passes(&self) -> Vec<Forward> {
        let mut passes = vec![Forward::Clean, Forward::Adversarial];
        if self.attacked_first {
            passes.reverse();
        }
        passes.extend((!self.single_clean_pass).then_some(Forward::CleanAgain));
        passes
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let target = if self.single_clean_pass { input.clean()? } else { input.logits(Forward::CleanAgain)? };
        let target = if self.detach_target { target.detach() } else { target.shallow_clone() };
        let natural = terms::smoothed_cross_entropy(input.clean()?, input.y(), self.label_smoothing).mean(None::<Kind>);
        let robust = terms::kl(&target, input.adversarial()?).mean(None::<Kind>);
        let total = &natural + &robust * input.now(&self.beta);
        Ok(LossOutput::new(total).part("natural", &natural).part("robust", &robust))
    }
}

register!(dyn Loss, "trades", Trades, "{ beta: 6 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, loss_from_yaml, loss_on};

    // import torch, torch.nn.functional as F
    // z = torch.tensor([[2., 0, -1], [.5, 1, 0]]).double()
    // a = torch.tensor([[1., 1, -1], [0, .5, 1]]).double()
    // y = torch.tensor([0, 1])
    // F.cross_entropy(z, y, label_smoothing=.1) + 5 * F.kl_div(F.log_softmax(a, 1), F.softmax(z,
    //     1), reduction="batchmean")
    #[test]
    fn smoothed_labels_equal_pytorchs() {
        let clean = Tensor::from_slice2(&[[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]]);
        let attacked = Tensor::from_slice2(&[[1.0, 1.0, -1.0], [0.0, 0.5, 1.0]]);
        let loss = loss_from_yaml("{ type: trades, beta: 5, label_smoothing: 0.1 }");
        let output = loss_on(loss.as_ref(), &clean, &attacked, &Tensor::from_slice(&[0i64, 1]));
        assert_close(&output.total, &Tensor::from(1.8806201943853467), 1e-12);
    }

    // import torch, torch.nn.functional as F
    // c = torch.tensor([[2., 0.], [0., 1.]]); a = torch.tensor([[1., 0.], [1., 0.]]);
    // y = torch.tensor([0, 1])
    // F.cross_entropy(c, y) + 6 * F.kl_div(F.log_softmax(a, 1), F.softmax(c, 1),
    //     reduction="batchmean")   # 1.8078
    //
    // By hand, with s(t) = 1/(1 + e^-t): CE = (ln(1 + e^-2) + ln(1 + e^-1))/2; the clean
    // probabilities of the first class are s(2) and s(-1), the attacked one s(1) twice.
    #[test]
    fn two_images_by_hand() {
        let s = |t: f64| 1.0 / (1.0 + (-t).exp());
        let kl = |p: f64, q: f64| p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
        let expected = -(s(2.0).ln() + s(1.0).ln()) / 2.0 + 6.0 * (kl(s(2.0), s(1.0)) + kl(s(-1.0), s(1.0))) / 2.0;
        let clean = Tensor::from_slice2(&[[2.0, 0.0], [0.0, 1.0]]);
        let attacked = Tensor::from_slice2(&[[1.0, 0.0], [1.0, 0.0]]);
        for yaml in ["{ type: trades }", "{ type: trades, single_clean_pass: true }"] {
            let output = loss_on(loss_from_yaml(yaml).as_ref(), &clean, &attacked, &Tensor::from_slice(&[0i64, 1]));
            assert_close(&output.total, &Tensor::from(expected), 1e-12);
            assert_close(&output.total, &Tensor::from(1.8078), 1e-4);
        }
    }
}
