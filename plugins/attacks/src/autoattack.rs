//! AutoAttack: four attacks without a knob to turn.

use crate::chain::Chain;
use crate::{Apgd, ApgdT, FabT, Square};
use foil::prelude::*;

/// Which of AutoAttack's ensembles.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Version {
    /// `apgd` on the cross-entropy, `apgd_t`, `fab_t` and `square`.
    Standard,
    /// For networks that draw random numbers when they are evaluated: `apgd` on the cross-entropy
    /// and on DLR, each gradient the mean over `eot` passes.
    Rand,
}

/// AutoAttack (Croce & Hein 2020, arXiv:2003.01690): `apgd` on the cross-entropy, `apgd_t`, `fab_t`
/// and `square`, each on the images that all before it left right.
///
/// 100 steps for each run, 9 wrong classes, 5000 queries, one start each, as in the authors'
/// `version='standard'`. It needs four classes. `version: rand` is `apgd` on the cross-entropy and
/// on DLR with 20 passes for each gradient, as in the authors' `version='rand'`; it needs three.
/// With `norm: L1` there is `rand` alone.
#[settings]
pub struct AutoAttack {
    /// Which ensemble.
    #[set(default = Version::Standard)]
    pub version: Version,
    /// The ball's norm.
    #[set(default = Norm::Linf)]
    pub norm: Norm,
    /// The ball's radius. For `norm: L2` a length, which may exceed 1.
    #[set(unit = "image", range = 0.0..)]
    pub eps: Scheduled,
    /// Steps of each run of the attacks with gradients. AutoAttack has 100.
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
    /// Passes that each gradient of `version: rand` is the mean of; `standard` makes one.
    /// AutoAttack has 20.
    #[set(default = 20, range = 1..=10_000)]
    pub eot: u32,
}

impl Config<dyn Attack> for AutoAttack {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let Self { norm, steps, n_queries, targets, restarts, .. } = *self;
        let eps = || self.eps.clone();
        let eot = if self.version == Version::Rand { self.eot } else { 1 };
        let apgd = |objective: &str| {
            let objective = Component::named(objective)?;
            Ok::<_, Error>(Apgd { objective, steps, restarts, eot, ..Apgd::evaluating(norm, eps()) })
        };
        // The first says what is wrong with the radius, if anything is; the others would repeat it.
        let before = cx.has_problems();
        let first = apgd("ce")?.build(cx)?;
        if cx.has_problems() && !before {
            return Ok(first);
        }
        let mut chain = vec![("apgd_ce".to_string(), first)];
        if self.version == Version::Rand {
            chain.push(("apgd_dlr".to_string(), apgd("dlr")?.build(cx)?));
            return Ok(Box::new(Chain(chain)));
        }
        if norm == Norm::L1 {
            let message = "is L1, for which `fab_t` and `square` have no form here";
            let help = "list `worst_of` its other two: `apgd` with `restarts: 5` and `apgd_t` with `targets: 5`";
            cx.problem("norm", message, help);
            return Ok(Box::new(Chain(chain)));
        }
        let apgd_t = ApgdT { norm, eps: eps(), steps, targets, restarts, eot, rho: 0.75 };
        let fab_t = FabT { norm, eps: eps(), steps, targets, restarts, alpha_max: 0.1, eta: 1.05, beta: 0.9 };
        let square = Square { norm, eps: eps(), n_queries, p_init: 0.8, rescale: false, restarts };
        chain.push(("apgd_t".to_string(), apgd_t.build(cx)?));
        chain.push(("fab_t".to_string(), fab_t.build(cx)?));
        chain.push(("square".to_string(), square.build(cx)?));
        Ok(Box::new(Chain(chain)))
    }
}

register!(dyn Attack, "autoattack", AutoAttack, "{ eps: 8/255 }");
