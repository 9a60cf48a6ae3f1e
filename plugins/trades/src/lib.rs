//! TRADES: clean cross-entropy plus a penalty for changing the prediction under attack.
//!
//! Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019, arXiv:1901.08573, Eq. 5.

use foil::prelude::*;

/// TRADES (Zhang et al. 2019, Eq. 5). L = CE(f(x), y) + beta · KL(softmax f(x) ‖ softmax f(x')), means over the batch.
///
/// The KL is the authors' `kl_div(log_softmax(f(x')), softmax(f(x)))`; Table 9 of the CAT paper writes its arguments the
/// other way round. As in their code the clean images pass twice, which moves batch norm's running statistics twice, and
/// gradients flow through both arguments. Attack: `pgd` with `objective: kl`, `start: gaussian`, `mode: eval`.
#[settings]
pub struct Trades {
    /// Weight of the robust term, the paper's 1/lambda. 6 on CIFAR, 1 on MNIST.
    #[set(default = 6.0.into(), range = 0.0..)]
    pub beta: Scheduled,
    /// One clean pass in place of the code's two: equal but for dropout and running statistics, and faster.
    #[set(default = false)]
    pub single_clean_pass: bool,
    /// Stops the gradient through the clean prediction in the KL, in which case it is a fixed target.
    #[set(default = false)]
    pub detach_target: bool,
}

impl Loss for Trades {
    fn passes(&self) -> Vec<Forward> {
        let mut passes = vec![Forward::Clean, Forward::Adversarial];
        passes.extend((!self.single_clean_pass).then_some(Forward::CleanAgain));
        passes
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let target = if self.single_clean_pass { input.clean()? } else { input.logits(Forward::CleanAgain)? };
        let target = if self.detach_target { target.detach() } else { target.shallow_clone() };
        let natural = terms::cross_entropy(input.clean()?, input.y()).mean(None::<Kind>);
        let robust = terms::kl(&target, input.adversarial()?).mean(None::<Kind>);
        let total = &natural + &robust * input.now(&self.beta);
        Ok(LossOutput::new(total).part("natural", &natural).part("robust", &robust))
    }
}

register!(dyn Loss, "trades", Trades, "{ beta: 6 }");
