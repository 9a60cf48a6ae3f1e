//! APGD: PGD that chooses its own step size.
//!
//! Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
//! parameter-free attacks", ICML 2020, arXiv:2003.01690, Algorithm 1; constants and start as in the
//! authors' code.

mod run;

use crate::ball::check_radius;
use crate::chain::Chain;
use foil::prelude::*;
use run::Run;

/// APGD (Croce & Hein 2020, Algorithm 1): momentum, and a step size that starts at 2 · eps and is
/// halved where progress stops.
///
/// From a random point at distance eps: v = P(x + step · direction), x' = P(x + 0.75 (v − x) + 0.25
/// (x − last x)). After 22 % of the steps, and then after windows that shrink by 3 % down to 6 %,
/// an image's step is halved, and it goes back to its best point, if fewer than rho of the window's
/// steps raised the objective, or if the step was left alone last time and the best value has not
/// risen since. It returns the last misclassified point or, for an image that was never
/// misclassified, the one with the largest objective.
///
/// `ce` is AutoAttack's first attack, `dlr` the second loss of the paper.
#[settings]
pub struct Apgd {
    /// The objective to maximise: `ce` or `dlr`.
    #[set(default = Component::named("ce").expect("`ce` is registered beside `apgd`"))]
    pub objective: Component<dyn Objective>,
    /// The ball's norm.
    #[set(default = Norm::Linf)]
    pub norm: Norm,
    /// The ball's radius. For `norm: L2` a length, which may exceed 1.
    #[set(unit = "image", range = 0.0..)]
    pub eps: Scheduled,
    /// Number of steps.
    #[set(default = 100, range = 1..=100_000)]
    pub steps: u32,
    /// Independent tries; a try runs only for images that are not broken yet.
    #[set(default = 1, range = 1..=1000)]
    pub restarts: u32,
    /// Passes that each gradient is the mean of (expectation over transformation), for a network
    /// that draws random numbers when it is evaluated; AutoAttack's `rand` takes 20.
    #[set(default = 1, range = 1..=10_000)]
    pub eot: u32,
    /// The share of a window's steps that must raise the objective for the step size to stay.
    #[set(default = 0.75, range = 0.0..=1.0)]
    pub rho: f64,
}

impl Config<dyn Attack> for Apgd {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        check_radius(cx, "eps", &self.eps, self.norm);
        Chain::of_tries(self.restarts, |restart| {
            let name = format!("apgd_{}.{restart}", self.objective.name());
            let objective = cx.objective("objective", &self.objective)?;
            let (norm, eps) = (self.norm, self.eps.clone());
            Ok(Run { name, norm, eps, steps: self.steps, rho: self.rho, eot: self.eot, objective })
        })
    }
}

register!(dyn Attack, "apgd", Apgd, "{ eps: 8/255, objective: dlr }");

/// Targeted APGD (Croce & Hein 2020, section 5): one run towards each of the most likely wrong
/// classes.
///
/// With t the second, third, … class of the clean logits it ascends −(z_y − z_t) / (z₍₁₎ − (z₍₃₎ +
/// z₍₄₎) / 2), z₍ᵢ₎ the i-th largest; see `apgd` for the steps. A run starts only for images that
/// are not broken yet. It needs four classes.
#[settings]
pub struct ApgdT {
    /// The ball's norm.
    #[set(default = Norm::Linf)]
    pub norm: Norm,
    /// The ball's radius. For `norm: L2` a length, which may exceed 1.
    #[set(unit = "image", range = 0.0..)]
    pub eps: Scheduled,
    /// Number of steps of each run.
    #[set(default = 100, range = 1..=100_000)]
    pub steps: u32,
    /// Number of wrong classes to try; at most all of them.
    #[set(default = 9, range = 1..=10_000)]
    pub targets: u32,
    /// Independent tries for each class.
    #[set(default = 1, range = 1..=1000)]
    pub restarts: u32,
    /// Passes that each gradient is the mean of (expectation over transformation), for a network
    /// that draws random numbers when it is evaluated; AutoAttack's `rand` takes 20.
    #[set(default = 1, range = 1..=10_000)]
    pub eot: u32,
    /// The share of a window's steps that must raise the objective for the step size to stay.
    #[set(default = 0.75, range = 0.0..=1.0)]
    pub rho: f64,
}

impl Config<dyn Attack> for ApgdT {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        check_radius(cx, "eps", &self.eps, self.norm);
        if cx.data.classes < 4 {
            let why = format!("needs 4 classes for its targeted loss, the data have {}", cx.data.classes);
            cx.problem("", why, "choose `{ type: apgd, objective: dlr }`, which needs 3, or `apgd`");
        }
        let run = |stage: &str, rank, _| {
            let (name, objective) = (format!("apgd_t.{stage}"), Box::new(TargetedDlr { rank }));
            let (norm, eps) = (self.norm, self.eps.clone());
            Run { name, norm, eps, steps: self.steps, rho: self.rho, eot: self.eot, objective }
        };
        Ok(Chain::of_targets(cx, self.targets, self.restarts, run))
    }
}

/// What `apgd_t` ascends: towards the class at this rank of the clean logits; rank 0 is the most
/// likely one.
struct TargetedDlr {
    rank: i64,
}

impl Objective for TargetedDlr {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        let clean = reference.clean.expect("a run makes the clean logits that its objective needs");
        let class = clean.argsort(-1, true).select(1, self.rank);
        let sorted = logits.topk(4, -1, true, true).0;
        let at = |rank: i64| sorted.select(1, rank);
        -(terms::of_class(logits, reference.y) - terms::of_class(logits, &class))
            / (at(0) - (at(2) + at(3)) * 0.5 + 1e-12)
    }

    fn needs_clean(&self) -> bool {
        true
    }

    fn least_classes(&self) -> i64 {
        4
    }
}

register!(dyn Attack, "apgd_t", ApgdT, "{ eps: 8/255 }");
