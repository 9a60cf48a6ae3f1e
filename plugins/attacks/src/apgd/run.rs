//! One run of APGD: with momentum for Linf and L2, or `sparse`.

use super::Apgd;
use super::best::{Best, Look};
use super::sparse::Sparse;
use crate::ball::{Ball, Geometry};
use crate::live::Live;
use foil::prelude::*;

/// One run from one start.
pub(crate) struct Run {
    /// Keys its random start.
    pub(crate) name: String,
    /// What is ascended.
    pub(crate) objective: Box<dyn Objective>,
    /// The rest; its own objective and restarts do not count.
    pub(crate) of: Apgd,
}

/// After which steps (counted from 1) step sizes are looked at.
fn checkpoints(steps: u32) -> Vec<u32> {
    let share = |percent: u32| (steps * percent / 100).max(1);
    let (mut window, mut at, mut found) = (share(22), 0, Vec::new());
    while at + window <= steps {
        at += window;
        found.push(at);
        window = window.saturating_sub(share(3)).max(share(6));
    }
    found
}

/// How often an evaluation drops broken images.
const SHRINK: u32 = 10;

/// Where the images are.
struct Path {
    y: Tensor,
    clean: Option<Tensor>,
    ball: Ball,
    center: Tensor,
    x: Tensor,
    last: Tensor,
    gradient: Tensor,
    value: Tensor,
    step: Tensor,
    best: Best,
    best_at_check: Tensor,
    rises: Tensor,
    reduced: Tensor,
}

/// `[N]` to `[N, 1, 1, 1]`.
pub(super) fn wide(t: &Tensor) -> Tensor {
    t.view([-1, 1, 1, 1])
}

impl Run {
    fn start(&self, target: &Target, batch: &Batch, eps: &Tensor) -> Path {
        let (center, y) = (batch.x.shallow_clone(), batch.y.shallow_clone());
        let x = self.begin(batch, |name| (&center + self.of.norm.random(batch, name) * eps).clamp(0.0, 1.0));
        let clean = self.clean_logits(target, &center);
        let look = self.look(target, &x, &y, clean.as_ref());
        let ball = Ball::new(self.of.norm, &center, eps, true);
        let (best, copy) = (Best::of(&x, &look), Tensor::shallow_clone);
        let Look { gradient, value: start, .. } = look;
        Path {
            clean,
            ball,
            last: copy(&x),
            gradient,
            // The authors' buffer of values is zero before the first step.
            value: start.zeros_like(),
            step: start.zeros_like() + eps * 2.0,
            best_at_check: copy(&start),
            rises: start.zeros_like(),
            reduced: start.ones_like().to_kind(Kind::Bool),
            best,
            center,
            y,
            x,
        }
    }

    /// What the objective compares with, if it does. An objective of another network cannot be
    /// evaluated, so this is the model.
    pub(super) fn clean_logits(&self, target: &Target, x: &Tensor) -> Option<Tensor> {
        self.objective.needs_clean().then(|| target.logits(x, Mode::Eval))
    }

    /// One step, and what became of it.
    fn step(&self, target: &Target, path: &mut Path, first: bool) {
        let momentum = if first { 0.0 } else { 0.25 };
        let ahead = path.ball.project(&(&path.x + self.of.norm.direction(&path.gradient) * wide(&path.step)));
        let mixed = &path.x + (ahead - &path.x) * (1.0 - momentum) + (&path.x - &path.last) * momentum;
        path.last = std::mem::replace(&mut path.x, path.ball.project(&mixed));

        let look = self.look(target, &path.x, &path.y, path.clean.as_ref());
        path.rises += look.value.gt_tensor(&path.value).to_kind(look.value.kind());
        path.best.note(&path.x, &look);
        (path.gradient, path.value) = (look.gradient, look.value);
    }

    /// Halves step sizes after a window of `window` steps.
    fn check(&self, path: &mut Path, window: u32) {
        let stalls = path.rises.le(self.of.rho * f64::from(window));
        let stuck = path.reduced.logical_not().logical_and(&path.best_at_check.ge_tensor(&path.best.value));
        let reduce = stalls.logical_or(&stuck);
        path.step = (&path.step * 0.5).where_self(&reduce, &path.step);
        path.x = path.best.x.where_self(&wide(&reduce), &path.x);
        path.gradient = path.best.gradient.where_self(&wide(&reduce), &path.gradient);
        path.best_at_check = path.best.value.shallow_clone();
        path.rises = path.rises.zeros_like();
        path.reduced = reduce;
    }

    /// With momentum.
    fn climb(&self, target: &Target, batch: &Batch, eps: &Tensor, live: &mut Live) -> Best {
        let mut path = self.start(target, batch, eps);
        let (checks, mut window) = (checkpoints(self.of.steps), 0);
        target.iterate(&path.x);
        for k in 1..=self.of.steps {
            self.step(target, &mut path, k == 1);
            target.iterate(&path.x);
            window += 1;
            if checks.contains(&k) {
                self.check(&mut path, std::mem::take(&mut window));
            }
            if let Some(stay) = self.leave(target, live, &path.best, k) {
                path = path.rows(&stay, self.of.norm, eps);
            }
            if live.is_empty() {
                break;
            }
        }
        path.best
    }

    /// In an evaluation, now and then, lets the broken images go; returns the places of the others.
    pub(super) fn leave(&self, target: &Target, live: &mut Live, best: &Best, step: u32) -> Option<Tensor> {
        let may = target.shrinks() && step.is_multiple_of(SHRINK);
        may.then(|| live.shrink(&best.broken, &best.found(self.of.keep))).flatten()
    }
}

impl Path {
    fn rows(self, rows: &Tensor, norm: Norm, eps: &Tensor) -> Self {
        let pick = |t: Tensor| t.index_select(0, rows);
        let center = pick(self.center);
        Self {
            y: pick(self.y),
            clean: self.clean.map(pick),
            ball: Ball::new(norm, &center, eps, true),
            center,
            x: pick(self.x),
            last: pick(self.last),
            gradient: pick(self.gradient),
            value: pick(self.value),
            step: pick(self.step),
            best: self.best.rows(rows),
            best_at_check: pick(self.best_at_check),
            rises: pick(self.rises),
            reduced: pick(self.reduced),
        }
    }
}

impl Attack for Run {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let (eps, target) = (batch.now(&self.of.eps), &target.averaging(self.of.eot));
        let mut live = Live::new(batch);
        let best = match self.of.norm {
            Norm::Linf | Norm::L2 => self.climb(target, batch, &eps, &mut live),
            Norm::L1 => Sparse::climb(self, target, batch, &eps, &mut live),
        };
        let found = best.found(self.of.keep);
        Ok(match target.shrinks() {
            true => Adversarial::new(live.finish(&found)),
            false => Adversarial::new(found).with_broken(best.broken),
        })
    }

    fn threats(&self) -> Vec<Threat> {
        Threat::within(self.of.norm, &self.of.eps)
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }

    fn networks(&self) -> Vec<String> {
        self.objective.network().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foil::engine::Network;
    use foil::testing::{assert_close, attack_from_yaml};
    use std::sync::atomic::{AtomicI64, Ordering};
    use tch::Device;

    // Croce & Hein 2020, section 3: p0 = 0, p1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03,
    // 0.06).
    #[test]
    fn checkpoints_of_the_paper() {
        assert_eq!(checkpoints(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(checkpoints(10), [2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(checkpoints(1), [1]);
    }

    /// Logits tanh(x A + s) B, where s differs at each pass.
    #[derive(Default)]
    struct Drawn(AtomicI64);

    impl Model for Drawn {
        fn forward(&self, _: &Pass, xs: &Tensor) -> Tensor {
            let count = |n: i64| Tensor::arange_start(1, n + 1, (Kind::Double, Device::Cpu));
            let (a, b) = (count(24).sin().view([6, 4]) * 2.0, count(12).cos().view([4, 3]) * 2.0);
            let pass = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            (xs.flatten(1, -1).matmul(&a) + (count(4) * pass).sin() * 0.5).tanh().matmul(&b)
        }
    }

    // torchattacks 3.5.1 (a port of AutoAttack's code), float64:
    // A = torch.sin(torch.arange(1., 25.)).view(6, 4) * 2;
    // B = torch.cos(torch.arange(1., 13.)).view(4, 3) * 2
    // class Drawn(torch.nn.Module):
    //     passes = 0
    //     def forward(self, x):
    //         self.passes += 1
    //         return torch.tanh(x.flatten(1) @ A + 0.5 * torch.sin(self.passes * torch.arange(1.,
    //         5.))) @ B
    // x = torch.sin(torch.arange(1., 25.) ** 2).abs().view(4, 1, 2, 3);
    // y = torch.tensor([0, 2, 0, 2])
    // u = torch.cos(torch.arange(1., 25.) ** 2).abs().view(4, 1, 2, 3);
    // torch.rand = lambda shape: u
    // attack = APGD(Drawn(), eps=0.1, steps=15, loss="ce" or "dlr", eot_iter=3);
    // attack.get_logits = attack.model
    // best, acc, _, wrong = attack.attack_single_run(x, y);
    // torch.where(acc.view(-1, 1, 1, 1), best, wrong)
    #[test]
    fn gradients_of_a_random_network_are_averaged_as_autoattack_averages_them() {
        let count = Tensor::arange_start(1, 25, (Kind::Double, Device::Cpu)).square();
        let clock = foil::scheduler::Clock::new(1, 1, Device::Cpu);
        let ce = [
            0.941470984808,
            0.656802495308,
            0.512118485242,
            0.249426754165,
            0.032351750098,
            1.0,
            1.0,
            0.820026038197,
            0.729887994274,
            0.60636564111,
            0.898815224724,
            0.591021593898,
            0.618308461428,
            0.83953005557,
            1.0,
            0.899208034107,
            0.023134161321,
            0.504065219456,
            0.37938655436,
            0.750919359639,
            1.0,
            0.293502966742,
            0.836472547534,
            0.985952778493,
        ];
        let dlr = [
            0.940299109808,
            0.777498355378,
            0.312118485242,
            0.386731441665,
            0.128836125098,
            0.891778853443,
            1.0,
            0.820026038197,
            0.591100151057,
            0.60636564111,
            0.898815224724,
            0.591021593898,
            0.623829084614,
            0.904038020813,
            0.830094878005,
            0.967955964021,
            0.044520880071,
            0.441174594456,
            0.278422916871,
            0.826655634813,
            0.934861695335,
            0.191452185492,
            0.903043197822,
            0.910784379626,
        ];
        for (objective, expected) in [("ce", ce), ("dlr", dlr)] {
            let nn = Builder::default();
            let network = Network::new(Box::new(Drawn::default()), nn, None, Kind::Double, Device::Cpu);
            let index = Tensor::arange(4, (Kind::Int64, Device::Cpu));
            let mut noise = nn::Noise::new(&Tensor::from(0i64), &index);
            noise.give(&format!("apgd_{objective}.1.start"), count.cos().abs().view([4, 1, 2, 3]));
            let x = count.sin().abs().view([4, 1, 2, 3]);
            let y = Tensor::from_slice(&[0i64, 2, 0, 2]);
            let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
            let attack = format!("{{ type: apgd, objective: {objective}, eps: 0.1, steps: 15, eot: 3 }}");
            let mut attack = attack_from_yaml(&attack, Kind::Double);
            let found = attack.perturb(&Target::new(&network, &batch.noise), &batch).unwrap().x;
            assert_close(&found.view(-1), &Tensor::from_slice(&expected), 1e-9);
        }
    }
}
