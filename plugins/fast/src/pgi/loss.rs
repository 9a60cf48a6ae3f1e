//! FGSM-PGI's loss.

use super::{START, smoothing};
use foil::prelude::*;

/// FGSM-PGI (Jia et al. 2022). L = smoothed CE(f(x'), y) + weight · mean over images and
/// classes of (f(x') - f(x + d))².
///
/// x + d are the images that the attack `fgsm_pgi` started from; they pass first, and nothing is
/// detached, as in the authors' code.
#[settings]
pub struct Pgi {
    /// Weight of the distance.
    #[set(default = 10.0.into(), range = 0.0..)]
    pub weight: Scheduled,
    /// The share of a label that the other classes have in the cross-entropy.
    #[set(default = 0.4, range = 0.0..1.0)]
    pub others: f64,
}

impl Loss for Pgi {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Images(START), Forward::Adversarial]
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let (start, attacked) = (input.logits(Forward::Images(START))?, input.adversarial()?);
        let smoothing = smoothing(self.others, attacked.size()[1]);
        let robust = terms::smoothed_cross_entropy(attacked, input.y(), smoothing).mean(None::<Kind>);
        let distance = (attacked - start).square().mean(None::<Kind>);
        let total = &robust + &distance * input.now(&self.weight);
        Ok(LossOutput::new(total).part("robust", &robust).part("distance", &distance))
    }
}

register!(dyn Loss, "fgsm_pgi", Pgi, "{ weight: 10 }");
