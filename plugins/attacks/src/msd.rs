//! MSD: an attack within several norms at once.
//!
//! Maini, Wong, Kolter, "Adversarial Robustness Against the Union of Multiple Perturbation Models",
//! ICML 2020, arXiv:1909.04068, Algorithm 1, and its code.

use crate::ball::{Ball, check_radius};
use crate::pgd_l1::{StepsWithinL1, check_counts};
use foil::prelude::*;

/// MSD (Maini et al. 2020, multi steepest descent): steepest descent within L1, L2 and Linf at
/// once.
///
/// It starts at the image. `steps` times the gradient of the cross-entropy gives a step within each
/// norm, from the same point and into that norm's ball; of an image's three points the attack goes
/// on from the one with the largest cross-entropy. (So a step within L2 may start from a point that
/// is far outside its ball.) It returns the point with the largest cross-entropy of all. The step
/// within L1 is that of `pgd_l1`, but for the gap, which is the step's own length. Each step passes
/// the images four times, in `mode`.
#[settings]
pub struct Msd {
    /// Radius within L1.
    #[set(default = 12.0.into(), unit = "image", range = 0.0..)]
    pub eps_l1: Scheduled,
    /// Radius within L2; the authors train with 0.3 on CIFAR-10.
    #[set(default = 0.5.into(), unit = "image", range = 0.0..)]
    pub eps_l2: Scheduled,
    /// Radius within Linf.
    #[set(default = 0.03.into(), unit = "image", range = 0.0..=1.0)]
    pub eps_linf: Scheduled,
    /// How far each of `most` numbers moves within L1.
    #[set(default = 0.05.into(), unit = "image", range = 0.0..=1.0)]
    pub alpha_l1: Scheduled,
    /// Step within L2.
    #[set(default = 0.05.into(), unit = "image", range = 0.0..)]
    pub alpha_l2: Scheduled,
    /// Step within Linf.
    #[set(default = 0.003.into(), unit = "image", range = 0.0..=1.0)]
    pub alpha_linf: Scheduled,
    /// Number of steps.
    #[set(default = 50, range = 1..=100_000)]
    pub steps: u32,
    /// The fewest numbers that a step within L1 moves.
    #[set(default = 5, range = 1..=100_000)]
    pub least: u32,
    /// The most.
    #[set(default = 20, range = 1..=100_000)]
    pub most: u32,
    /// The model's mode during the attack: `train` in the authors' training.
    #[set(default = Mode::Train)]
    pub mode: Mode,
}

impl Config<dyn Attack> for Msd {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        check_counts(cx, self.least, self.most);
        check_radius(cx, "eps_linf", &self.eps_linf, Norm::Linf);
        Ok(Box::new(self.clone()))
    }
}

/// Points of the images and the cross-entropy there, `[N]`.
struct Points {
    x: Tensor,
    loss: Tensor,
}

impl Points {
    /// Those of `other` where `better` `[N]`.
    fn or(self, other: &Self, better: &Tensor) -> Self {
        let x = other.x.where_self(&better.view([-1, 1, 1, 1]), &self.x);
        Self { x, loss: other.loss.where_self(better, &self.loss) }
    }
}

impl Attack for Msd {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let within_l1 = StepsWithinL1 {
            center: &batch.x,
            eps: batch.now(&self.eps_l1),
            alpha: batch.now(&self.alpha_l1),
            least: self.least,
            most: self.most,
            gap: None,
        };
        let others = [(Norm::L2, &self.eps_l2, &self.alpha_l2), (Norm::Linf, &self.eps_linf, &self.alpha_linf)]
            .map(|(norm, eps, alpha)| (Ball::new(norm, &batch.x, &batch.now(eps), true), batch.now(alpha)));
        let loss = |logits: &Tensor| terms::cross_entropy(logits, &batch.y);
        let at = |x: Tensor| Points { loss: loss(&target.logits(&x, self.mode)), x };
        let mut x = batch.x.shallow_clone();
        let mut best: Option<Points> = None;
        target.iterate(&x);
        for step in 0..self.steps {
            let gradient = target.gradient(&x, self.mode, &loss).gradient;
            let mut found = at(within_l1.step(batch, &x, &gradient, &format!("msd.{step}")));
            for (ball, alpha) in &others {
                let other = at(ball.ascend(&x, &gradient, alpha));
                // Of equal ones the last counts, as in the authors' code.
                let better = other.loss.ge_tensor(&found.loss);
                found = found.or(&other, &better);
            }
            x = found.x.shallow_clone();
            target.iterate(&x);
            best = Some(match best {
                None => found,
                Some(best) => {
                    let better = found.loss.gt_tensor(&best.loss);
                    best.or(&found, &better)
                }
            });
        }
        best.map(|best| Adversarial::new(best.x)).ok_or_else(|| Error::new("`steps` is 0"))
    }

    fn threats(&self) -> Vec<Threat> {
        let norms = [(Norm::L1, &self.eps_l1), (Norm::L2, &self.eps_l2), (Norm::Linf, &self.eps_linf)];
        norms.into_iter().flat_map(|(norm, eps)| Threat::within(norm, eps)).collect()
    }

    fn mode(&self) -> Mode {
        self.mode
    }
}

register!(dyn Attack, "msd", Msd, "{ eps_l2: 0.3, steps: 50 }");

#[cfg(test)]
mod tests {
    use foil::prelude::*;
    use foil::testing::{assert_close, attack_from_yaml, images, network};

    /// The points of an attack, and what it returns.
    fn run(yaml: &str) -> (Vec<Tensor>, Tensor) {
        let (network, images) = (network(Kind::Double), images(24, 4, Kind::Double));
        let batch = images.batch(1);
        let iterates = std::cell::RefCell::default();
        let target = Target::new(&network, &batch.noise).recording(&iterates);
        let found = attack_from_yaml(yaml, Kind::Double).perturb(&target, &batch).unwrap().x;
        (iterates.into_inner(), found)
    }

    // Where the other balls hold the image alone, its points are those of PGD within the third.
    #[test]
    fn with_one_norm_it_is_pgd() {
        for (msd, pgd) in [
            ("eps_l1: 0, eps_linf: 0, eps_l2: 0.4, alpha_l2: 0.1", "norm: L2, eps: 0.4, alpha: 0.1"),
            ("eps_l1: 0, eps_l2: 0, eps_linf: 0.05, alpha_linf: 0.02", "eps: 0.05, alpha: 0.02"),
        ] {
            let (points, _) = run(&format!("{{ type: msd, {msd}, steps: 4, mode: eval }}"));
            let (expected, _) = run(&format!("{{ type: pgd, {pgd}, steps: 4, start: none }}"));
            assert_eq!(points.len(), 5);
            points.iter().zip(&expected).for_each(|(point, expected)| assert_close(point, expected, 1e-12));
        }
    }

    #[test]
    fn each_image_goes_on_within_its_worst_norm() {
        let (network, images) = (network(Kind::Double), images(24, 4, Kind::Double));
        let batch = images.batch(1);
        let target = Target::new(&network, &batch.noise);
        let loss = |x: &Tensor| terms::cross_entropy(&target.logits(x, Mode::Eval), &batch.y);
        let all = "eps_l1: 0.8, eps_l2: 0.25, eps_linf: 0.05, alpha_l1: 0.1, alpha_l2: 0.1, alpha_linf: 0.02";
        let (points, found) = run(&format!("{{ type: msd, {all}, least: 3, most: 6, steps: 8, mode: eval }}"));
        let losses = points[1..].iter().map(&loss).collect::<Vec<_>>();
        assert_close(&loss(&found), &Tensor::stack(&losses, 0).amax(0, false), 1e-12);
        // Every point is in one of the balls.
        for x in &points[1..] {
            let flat = (x - &batch.x).flatten(1, -1);
            let l1 = flat.abs().sum_dim_intlist(1, false, None::<Kind>).le(0.8 + 1e-12);
            let l2 = flat.square().sum_dim_intlist(1, false, None::<Kind>).sqrt().le(0.25 + 1e-12);
            let linf = flat.abs().amax(1, false).le(0.05 + 1e-12);
            assert_eq!(l1.logical_or(&l2).logical_or(&linf).sum(Kind::Int64).int64_value(&[]), 24);
        }
    }
}
