//! APGD under L1: steps along the largest numbers of the gradient, as many as pay.
//!
//! Croce & Hein, "Mind the Box: l1-APGD for Sparse Adversarial Attacks on Image Classifiers", ICML
//! 2021, arXiv:2103.01208; constants as in AutoAttack's code.

use super::best::{Best, Look};
use super::run::{Run, wide};
use super::{Begin, SHARE};
use crate::ball::Ball;
use crate::live::Live;
use foil::prelude::*;

/// The images in one ball.
pub(super) struct Sparse {
    y: Tensor,
    clean: Option<Tensor>,
    ball: Ball,
    center: Tensor,
    x: Tensor,
    gradient: Tensor,
    /// How far a step goes, `[N]`.
    step: Tensor,
    /// The share of the numbers that a step moves, `[N]`.
    share: Tensor,
    /// How many numbers the best point changed at the last check, `[N]`.
    changed: Tensor,
    best: Best,
}

/// By how much a best point must be sparser than at the last check, for the step to start again.
const SPARSER: f64 = 0.95;
/// What a step is divided by where the best point is not sparser, and how often at most.
const SHORTER: f64 = 1.5;
const SHORTEST: f64 = 10.0;

/// The signs of the numbers of `gradient` `[N, C, H, W]` that are among the largest in absolute
/// value, the `share` `[N]` of all, divided by how many they are.
fn sparse_sign(gradient: &Tensor, share: &Tensor) -> Tensor {
    let size = gradient.abs().flatten(1, -1);
    let n = size.size()[1];
    let place = ((-share + 1.0) * n as f64).clamp(0.0, (n - 1) as f64).to_kind(Kind::Int64);
    let least = size.sort(1, false).0.gather(1, &place.unsqueeze(1), false);
    let signs = gradient.sign() * wide(&least).le_tensor(&gradient.abs()).to_kind(gradient.kind());
    let count = signs.abs().flatten(1, -1).sum_dim_intlist(1, false, None::<Kind>);
    signs / wide(&(count + 1e-10))
}

/// How many numbers of each image differ, `[N]`.
fn changed(x: &Tensor, center: &Tensor) -> Tensor {
    x.ne_tensor(center).flatten(1, -1).sum_dim_intlist(1, false, x.kind())
}

/// A ball, as a multiple of eps, and the steps within it.
#[derive(Clone, Copy)]
struct Stage {
    times: f64,
    steps: u32,
    is_last: bool,
}

/// The first stage, and the others.
fn stages(steps: u32, large_radii: bool) -> (Stage, Vec<Stage>) {
    let stage = |times, steps, is_last| Stage { times, steps, is_last };
    if !large_radii {
        return (stage(1.0, steps, true), Vec::new());
    }
    let first = (3 * steps).div_ceil(10).min(steps);
    let second = first.min(steps - first);
    (stage(3.0, first, false), vec![stage(2.0, second, false), stage(1.0, steps - first - second, true)])
}

impl Sparse {
    /// All steps; images that are broken in the last ball may leave.
    pub fn climb(run: &Run, target: &Target, batch: &Batch, eps: &Tensor, live: &mut Live) -> Best {
        let clean = run.clean_logits(target, &batch.x);
        let within = |times: f64| (Ball::new(Norm::L1, &batch.x, &(eps * times), true), eps * times);
        let at = |x: Tensor, ball: Ball, eps: &Tensor, share: Option<f64>| {
            let look = run.look(target, &x, &batch.y, clean.as_ref());
            Self::at(batch, clean.as_ref(), x, look, ball, eps, share)
        };
        let (first, others) = stages(run.of.steps, run.of.large_radii.unwrap_or(true));
        let (ball, radius) = within(first.times);
        let x = run.begin(batch, |name| ball.project(&(&batch.x + batch.normal(name))));
        // AutoAttack counts what the start changes whenever it is handed one: in every large ball.
        let counts = !first.is_last && run.of.start == Begin::Random;
        let share = run.of.share.or((!counts).then_some(SHARE));
        let mut path = at(x, ball, &radius, share);
        path = path.through(run, target, first, &radius, live);
        for stage in others {
            let (ball, radius) = within(stage.times);
            path = at(ball.project(&path.best.x), ball, &radius, None);
            path = path.through(run, target, stage, &radius, live);
        }
        path.best
    }

    /// At the start of a stage. Without `share` it is two thirds of what `x` changes.
    fn at(
        batch: &Batch,
        clean: Option<&Tensor>,
        x: Tensor,
        look: Look,
        ball: Ball,
        eps: &Tensor,
        share: Option<f64>,
    ) -> Self {
        let (center, y) = (batch.x.shallow_clone(), batch.y.shallow_clone());
        let (all, zero) = (x.size()[1..].iter().product::<i64>() as f64, look.value.zeros_like());
        let (share, changed) = match share {
            Some(share) => (&zero + share, &zero + all),
            None => {
                let changed = changed(&x, &center);
                (&changed / all / SHORTER, changed)
            }
        };
        Self {
            y,
            clean: clean.map(Tensor::shallow_clone),
            ball,
            center,
            step: zero + eps,
            share,
            changed,
            best: Best::of(&x, &look),
            gradient: look.gradient,
            x,
        }
    }

    /// The steps of a stage.
    fn through(mut self, run: &Run, target: &Target, stage: Stage, eps: &Tensor, live: &mut Live) -> Self {
        target.iterate(&self.x);
        for k in 1..=stage.steps {
            self.step(run, target);
            target.iterate(&self.x);
            if k % (stage.steps / 25).max(1) == 0 {
                self.check(eps);
            }
            if let Some(stay) = stage.is_last.then(|| run.leave(target, live, &self.best, k)).flatten() {
                self = self.rows(&stay, eps);
            }
            if live.is_empty() {
                break;
            }
        }
        self
    }

    fn step(&mut self, run: &Run, target: &Target) {
        self.x = self.ball.project(&(&self.x + sparse_sign(&self.gradient, &self.share) * wide(&self.step)));
        let look = run.look(target, &self.x, &self.y, self.clean.as_ref());
        self.best.note(&self.x, &look);
        self.gradient = look.gradient;
    }

    /// Chooses step and share by how many numbers the best points change.
    fn check(&mut self, eps: &Tensor) {
        let all = self.x.size()[1..].iter().product::<i64>() as f64;
        let now = changed(&self.best.x, &self.center);
        let sparser = (&now / &self.changed).lt(SPARSER);
        let shorter = (&self.step / SHORTER).maximum(&(eps / SHORTEST).to_kind(self.step.kind()));
        self.step = (self.step.zeros_like() + eps).where_self(&sparser, &shorter);
        self.x = self.best.x.where_self(&wide(&sparser), &self.x);
        self.gradient = self.best.gradient.where_self(&wide(&sparser), &self.gradient);
        self.share = &now / all / SHORTER;
        self.changed = now;
    }

    fn rows(self, rows: &Tensor, eps: &Tensor) -> Self {
        let pick = |t: Tensor| t.index_select(0, rows);
        let center = pick(self.center);
        Self {
            y: pick(self.y),
            clean: self.clean.map(pick),
            ball: Ball::new(Norm::L1, &center, eps, true),
            center,
            x: pick(self.x),
            gradient: pick(self.gradient),
            step: pick(self.step),
            share: pick(self.share),
            changed: pick(self.changed),
            best: self.best.rows(rows),
        }
    }
}

#[cfg(test)]
mod tests;
