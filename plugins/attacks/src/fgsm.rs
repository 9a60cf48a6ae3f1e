//! FGSM: one step of the whole radius along the sign of the gradient.

use crate::Start;
use crate::ball::check_radius;
use foil::prelude::*;

/// The fast gradient sign method (Goodfellow et al. 2015, arXiv:1412.6572): x' = clamp(x + eps ·
/// sign(gradient of the cross-entropy), 0, 1).
///
/// Without a random start, as the CAT paper evaluates it. It is `pgd` with one step of size eps.
#[settings]
pub struct Fgsm {
    /// The ball's radius, and the step.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub eps: Scheduled,
    /// Where it starts.
    #[set(default = Start::None)]
    pub start: Start,
    /// Passes that each gradient is the mean of (expectation over transformation), for a network
    /// that draws random numbers when it is evaluated; AutoAttack's `rand` takes 20.
    #[set(default = 1, range = 1..=10_000)]
    pub eot: u32,
    /// The model's mode during the attack: `train` in robust_overfitting and CAT, `eval` in TRADES,
    /// MART, FAT and every evaluation.
    #[set(default = Mode::Eval)]
    pub mode: Mode,
}

impl Config<dyn Attack> for Fgsm {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        check_radius(cx, "eps", &self.eps, Norm::Linf);
        let one_step = crate::Pgd {
            objective: Component::named("ce")?,
            norm: Norm::Linf,
            eps: self.eps.clone(),
            alpha: self.eps.clone(),
            steps: 1,
            start: self.start.clone(),
            start_eps: Option::None,
            restarts: 1,
            eot: self.eot,
            keep: crate::pgd::Keep::Last,
            mode: self.mode,
            clip: true,
        };
        one_step.build(cx)
    }
}

register!(dyn Attack, "fgsm", Fgsm, "{ eps: 8/255 }");
