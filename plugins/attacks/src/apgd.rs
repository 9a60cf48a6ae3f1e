//! APGD: PGD that chooses its own step size.
//!
//! Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
//! parameter-free attacks", ICML 2020, arXiv:2003.01690, Algorithm 1; constants and start as in the
//! authors' code.

mod best;
mod run;
mod sparse;

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
///
/// With `norm: L1` (Croce & Hein 2021, "Mind the Box", arXiv:2103.01208) a step of length s goes
/// along the signs of the gradient's largest numbers and then to the nearest point of ball and
/// cube, without momentum. Every 4 % of the steps an image whose best point changes clearly fewer
/// numbers than before goes back to it, with s = eps; for the others s is divided by 1.5, down to
/// eps/10; and the next steps move two thirds as many numbers as the best point has changed. `rho`
/// is not used.
///
/// In E-AT's training (Croce & Hein 2022) it is `{ steps: 10, start: none, keep: worst }`, for L1
/// with `share: 0.05, large_radii: false`.
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
    /// Where a run starts.
    #[set(default = Begin::Random)]
    pub start: Begin,
    /// Which point is returned.
    #[set(default = Found::Broken)]
    pub keep: Found,
    /// For `norm: L1`: the share of the image's numbers that the first steps move. By default 0.2,
    /// and with `large_radii` from a random start two thirds of what that changes.
    #[set(default, range = 0.0..=1.0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// For `norm: L1`: whether 30 % of the steps are made within 3 eps and 30 % within 2 eps before
    /// the rest, each from the best point of those before. True by default.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub large_radii: Option<bool>,
}

/// Where APGD starts.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Begin {
    /// A random point at distance eps. With `norm: L1` normal noise, projected into ball and cube.
    Random,
    /// The image, as in training.
    None,
}

/// Which point APGD returns.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Found {
    /// The last misclassified one; of an image that was never misclassified the one with the
    /// largest objective.
    Broken,
    /// The one with the largest objective, as in training.
    Worst,
}

/// The first steps' share under L1, in AutoAttack without large radii.
const SHARE: f64 = 0.2;

impl Apgd {
    /// As AutoAttack runs it on the cross-entropy.
    pub(crate) fn evaluating(norm: Norm, eps: Scheduled) -> Self {
        Self {
            objective: Component::named("ce").expect("`ce` is registered beside `apgd`"),
            norm,
            eps,
            steps: 100,
            restarts: 1,
            eot: 1,
            rho: 0.75,
            start: Begin::Random,
            keep: Found::Broken,
            share: None,
            large_radii: None,
        }
    }
}

impl Config<dyn Attack> for Apgd {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        check_radius(cx, "eps", &self.eps, self.norm);
        for (key, given) in [("share", self.share.is_some()), ("large_radii", self.large_radii.is_some())] {
            if given && self.norm != Norm::L1 {
                cx.problem(key, "is for `norm: L1`", "leave it out");
            }
        }
        if self.restarts > 1 && self.start == Begin::None {
            cx.problem("restarts", "finds the same each time with `start: none`", "write `start: random`");
        }
        Chain::of_tries(self.restarts, |restart| {
            let name = format!("apgd_{}.{restart}", self.objective.name());
            Ok(Run { name, objective: cx.objective("objective", &self.objective)?, of: self.clone() })
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
            let Self { norm, steps, eot, rho, .. } = *self;
            Run { name, objective, of: Apgd { steps, eot, rho, ..Apgd::evaluating(norm, self.eps.clone()) } }
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
