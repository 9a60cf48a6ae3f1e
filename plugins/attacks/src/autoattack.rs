//! AutoAttack: four attacks without a knob to turn.

use crate::chain::Chain;
use crate::{Apgd, ApgdT, FabT, Norm, Square};
use foil::prelude::*;

/// Standard AutoAttack (Croce & Hein 2020, arXiv:2003.01690): `apgd` on the cross-entropy,
/// `apgd_t`, `fab_t` and `square`, each on the images that resisted all attacks before it.
///
/// 100 steps for each run, 9 wrong classes, 5000 queries, one start each, as in the authors'
/// `version='standard'`. It needs four classes.
#[settings]
pub struct AutoAttack {
    /// The ball's norm.
    #[set(default = Norm::Linf)]
    pub norm: Norm,
    /// The ball's radius. For `norm: L2` a length, which may exceed 1.
    #[set(unit = "image", range = 0.0..)]
    pub eps: Scheduled,
    /// Steps of each run of the three attacks with gradients. AutoAttack has 100.
    #[set(default = 100, range = 1..=100_000)]
    pub steps: u32,
    /// Queries of `square`. AutoAttack has 5000.
    #[set(default = 5000, range = 0..=1_000_000)]
    pub n_queries: u32,
    /// Wrong classes that the two targeted attacks try; at most all of them. AutoAttack has 9.
    #[set(default = 9, range = 1..=10_000)]
    pub targets: u32,
    /// Independent tries of each attack. AutoAttack has 1.
    #[set(default = 1, range = 1..=1000)]
    pub restarts: u32,
}

impl Config<dyn Attack> for AutoAttack {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let Self { norm, steps, n_queries, targets, restarts, .. } = *self;
        let eps = || self.eps.clone();
        let ce = Component::named("ce")?;
        let apgd = Apgd { objective: ce, norm, eps: eps(), steps, restarts, rho: 0.75 };
        let apgd_t = ApgdT { norm, eps: eps(), steps, targets, restarts, rho: 0.75 };
        let fab_t = FabT { norm, eps: eps(), steps, targets, restarts, alpha_max: 0.1, eta: 1.05, beta: 0.9 };
        let square = Square { norm, eps: eps(), n_queries, p_init: 0.8, rescale: false, restarts };
        // The first says what is wrong with the radius, if anything is; the others would repeat it.
        let before = cx.has_problems();
        let first = apgd.build(cx)?;
        if cx.has_problems() && !before {
            return Ok(first);
        }
        let chain = vec![
            ("apgd_ce".to_string(), first),
            ("apgd_t".to_string(), apgd_t.build(cx)?),
            ("fab_t".to_string(), fab_t.build(cx)?),
            ("square".to_string(), square.build(cx)?),
        ];
        Ok(Box::new(Chain(chain)))
    }
}

register!(dyn Attack, "autoattack", AutoAttack, "{ eps: 8/255 }");
