//! FAB: small steps along the decision boundary, drawn to the image.
//!
//! Croce & Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack",
//! ICML 2020, arXiv:1907.02044, Algorithm 1, in the targeted form that AutoAttack uses.

mod plane;

use crate::ball::{Geometry, check_radius, refuse_l1};
use crate::chain::Chain;
use crate::live::Live;
use foil::prelude::*;
use plane::onto_plane;

/// FAB-T (Croce & Hein 2020, arXiv:1907.02044 and 2003.01690): the nearest misclassified point,
/// searched for once for each of the most likely wrong classes.
///
/// Each step linearises z_t − z_y at x', projects x' and the image x onto the plane where it is
/// zero, within [0, 1] (changes d₁ and d₂), and moves to (1 − a)(x' + eta · d₁) + a (x + eta · d₂),
/// a = min(‖d₁‖ / (‖d₁‖ + ‖d₂‖), alpha_max). A misclassified point that is nearer than all before
/// it is kept, and x' goes back to x + beta (x' − x). It counts if it is within eps; otherwise the
/// image is returned unchanged. A run starts only for images that are not broken yet, and only for
/// those classified correctly without an attack.
#[settings]
pub struct FabT {
    /// The ball's norm.
    #[set(default = Norm::Linf)]
    pub norm: Norm,
    /// The radius within which a point counts. For `norm: L2` a length, which may exceed 1.
    #[set(unit = "image", range = 0.0..)]
    pub eps: Scheduled,
    /// Number of steps of each run.
    #[set(default = 100, range = 1..=100_000)]
    pub steps: u32,
    /// Number of wrong classes to try; at most all of them.
    #[set(default = 9, range = 1..=10_000)]
    pub targets: u32,
    /// Independent tries for each class; all but the first start at a random point at half the
    /// radius.
    #[set(default = 1, range = 1..=1000)]
    pub restarts: u32,
    /// How strongly a step is drawn to the image, at most.
    #[set(default = 0.1, range = 0.0..=1.0)]
    pub alpha_max: f64,
    /// How far a step goes past the plane; 1 is not at all.
    #[set(default = 1.05, range = 1.0..)]
    pub eta: f64,
    /// How far from the image a misclassified point is taken back; 1 is not at all.
    #[set(default = 0.9, range = 0.0..=1.0)]
    pub beta: f64,
}

/// One run towards one class.
struct Run {
    config: FabT,
    rank: i64,
    restart: u32,
}

impl Config<dyn Attack> for FabT {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        refuse_l1(cx, self.norm);
        check_radius(cx, "eps", &self.eps, self.norm);
        let run = |_: &str, rank, restart| Run { config: self.clone(), rank, restart };
        Ok(Chain::of_targets(cx, self.targets, self.restarts, run))
    }
}

/// How often an evaluation drops broken images.
const SHRINK: u32 = 10;
/// The distance of a point that was not found.
const NOWHERE: f64 = 1e10;

/// Where the images are, `[N, …]` each.
struct Path {
    center: Tensor,
    y: Tensor,
    class: Tensor,
    x: Tensor,
    nearest: Tensor,
    distance: Tensor,
}

impl Run {
    fn start(&self, target: &Target, batch: &Batch, eps: &Tensor) -> Path {
        let (center, y) = (batch.x.shallow_clone(), batch.y.shallow_clone());
        let clean = target.logits(&center, Mode::Eval);
        let class = clean.argsort(-1, true).select(1, self.rank);
        let x = if self.restart == 1 {
            center.shallow_clone()
        } else {
            let draw = format!("fab_t.{}-{}.start", self.rank, self.restart);
            (&center + self.config.norm.random(batch, &draw) * eps * 0.5).clamp(0.0, 1.0)
        };
        let distance = center.select(1, 0).select(1, 0).select(1, 0).zeros_like() + NOWHERE;
        Path { nearest: center.shallow_clone(), center, y, class, x, distance }
    }

    fn step(&self, target: &Target, path: &mut Path) {
        let config = &self.config;
        let lead = |logits: &Tensor| terms::of_class(logits, &path.class) - terms::of_class(logits, &path.y);
        let ascent = target.gradient(&path.x, Mode::Eval, &lead);
        let height = lead(&ascent.logits);
        // The plane's equation at the image, and both projections in one pass.
        let apart =
            (&ascent.gradient * (&path.center - &path.x)).flatten(1, -1).sum_dim_intlist(1, false, None::<Kind>);
        let moved = onto_plane(
            &Tensor::cat(&[&path.x, &path.center], 0),
            &Tensor::cat(&[&ascent.gradient, &ascent.gradient], 0),
            &Tensor::cat(&[&height, &(&height + apart)], 0),
            config.norm,
        );
        let [d1, d2] = [0, 1].map(|half| moved.chunk(2, 0).remove(half));
        let [l1, l2] = [&d1, &d2].map(|d| config.norm.length(d).clamp_min(1e-8));
        let a = (&l1 / (&l1 + l2)).clamp_max(config.alpha_max);
        let ahead: Tensor = (&path.x + d1 * config.eta) * (1.0 - &a) + (&path.center + d2 * config.eta) * &a;
        path.x = ahead.clamp(0.0, 1.0);

        let wrong = target.logits(&path.x, Mode::Eval).argmax(-1, false).ne_tensor(&path.y);
        let delta = &path.x - &path.center;
        let distance = config.norm.length(&delta).view(-1);
        let nearer = wrong.logical_and(&distance.lt_tensor(&path.distance));
        path.nearest = path.x.where_self(&nearer.view([-1, 1, 1, 1]), &path.nearest);
        path.distance = distance.where_self(&nearer, &path.distance);
        path.x = (&path.center + delta * config.beta).where_self(&wrong.view([-1, 1, 1, 1]), &path.x);
    }
}

impl Path {
    /// The images with a point within `eps`, and what is returned for each.
    fn found(&self, eps: &Tensor) -> (Tensor, Tensor) {
        let within = self.distance.le_tensor(&eps.to_kind(self.distance.kind()));
        let x = self.nearest.where_self(&within.view([-1, 1, 1, 1]), &self.center);
        (within, x)
    }

    fn rows(self, rows: &Tensor) -> Self {
        let [center, y, class, x, nearest, distance] =
            [self.center, self.y, self.class, self.x, self.nearest, self.distance].map(|t| t.index_select(0, rows));
        Self { center, y, class, x, nearest, distance }
    }
}

impl Attack for Run {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let eps = batch.now(&self.config.eps);
        let mut path = self.start(target, batch, &eps);
        let mut live = Live::new(batch);
        for k in 1..=self.config.steps {
            self.step(target, &mut path);
            target.iterate(&path.x);
            if target.shrinks() && k % SHRINK == 0 {
                let (broken, x) = path.found(&eps);
                if let Some(stay) = live.shrink(&broken, &x) {
                    path = path.rows(&stay);
                }
                if live.is_empty() {
                    break;
                }
            }
        }
        Ok(Adversarial::new(live.finish(&path.found(&eps).1)))
    }

    fn threats(&self) -> Vec<Threat> {
        Threat::within(self.config.norm, &self.config.eps)
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }
}

register!(dyn Attack, "fab_t", FabT, "{ eps: 8/255 }");
