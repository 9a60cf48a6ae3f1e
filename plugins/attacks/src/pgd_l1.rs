//! PGD within L1: steps along the largest numbers of the gradient.
//!
//! Maini, Wong, Kolter, "Adversarial Robustness Against the Union of Multiple Perturbation Models",
//! ICML 2020, arXiv:1909.04068, and its code.

use crate::ball::Geometry;
use crate::l1::onto_l1_ball;
use foil::prelude::*;

/// PGD within the norm L1 (Maini et al. 2020), for training under several norms; `apgd` with `norm:
/// L1` is stronger.
///
/// `steps` times: the k numbers of the image with the largest gradient move along its sign by alpha
/// · most/k, k a random whole number from `least` to `most`; numbers at 0 or 1 stay, and so do
/// those nearer than `gap` to the bound that the step would take them to. Then the change is
/// projected into the ball, and the image clamped to [0, 1]. It starts at the image; then,
/// `restarts` times, at a random point at distance 1, whose result counts for the images that it
/// breaks. k differs between the images of a batch, where the authors draw one for all.
#[settings]
pub struct PgdL1 {
    /// The ball's radius.
    #[set(default = 12.0.into(), unit = "image", range = 0.0..)]
    pub eps: Scheduled,
    /// How far each of `most` numbers moves.
    #[set(default = 0.05.into(), unit = "image", range = 0.0..=1.0)]
    pub alpha: Scheduled,
    /// Number of steps.
    #[set(default = 50, range = 1..=100_000)]
    pub steps: u32,
    /// The fewest numbers that a step moves.
    #[set(default = 5, range = 1..=100_000)]
    pub least: u32,
    /// The most.
    #[set(default = 20, range = 1..=100_000)]
    pub most: u32,
    /// How near to a bound a number stays.
    #[set(default = 0.05, range = 0.0..=1.0)]
    pub gap: f64,
    /// Further tries from a random point.
    #[set(default = 1, range = 0..=1000)]
    pub restarts: u32,
    /// The model's mode during the attack: `train` in the authors' training.
    #[set(default = Mode::Train)]
    pub mode: Mode,
}

impl Config<dyn Attack> for PgdL1 {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        check_counts(cx, self.least, self.most);
        Ok(Box::new(self.clone()))
    }
}

/// The signs of the `k` `[N, 1]` largest numbers of `gradient` among those of `x` that can move,
/// `[N, C, H, W]`; `gap` is a scalar or `[N, 1, 1, 1]`.
fn largest(gradient: &Tensor, x: &Tensor, k: &Tensor, gap: &Tensor) -> Tensor {
    let down = gradient.lt(0.0).logical_and(&x.le_tensor(gap));
    let up = gradient.gt(0.0).logical_and(&x.ge_tensor(&(1.0 - gap)));
    let stuck = down.logical_or(&up).logical_or(&x.le(0.0)).logical_or(&x.ge(1.0));
    let size = gradient.abs().masked_fill(&stuck, 0.0);
    let flat = size.flatten(1, -1);
    let last = flat.sort(1, true).0.gather(1, &(k - 1), false).view([-1, 1, 1, 1]);
    let moves = size.ge_tensor(&last).logical_and(&size.gt(0.0));
    gradient.sign() * moves.to_kind(gradient.kind())
}

/// Steps within the L1 ball around `center`.
pub(crate) struct StepsWithinL1<'a> {
    pub center: &'a Tensor,
    /// The radius, and how far each of `most` numbers moves; scalars.
    pub eps: Tensor,
    pub alpha: Tensor,
    /// The fewest numbers that a step moves, and the most.
    pub least: u32,
    pub most: u32,
    /// How near to a bound a number stays: a scalar, or as far as a step goes.
    pub gap: Option<Tensor>,
}

impl StepsWithinL1<'_> {
    /// A step from `x` along the largest numbers of `gradient`; `name` is that of its draw.
    pub fn step(&self, batch: &Batch, x: &Tensor, gradient: &Tensor, name: &str) -> Tensor {
        let [least, most] = [self.least, self.most].map(i64::from);
        let uniform = batch.noise.uniform(name, &[1], Kind::Double);
        let k = (uniform * (most - least + 1) as f64).to_kind(Kind::Int64) + least;
        let length = (k.to_kind(x.kind()).reciprocal() * most as f64 * &self.alpha).view([-1, 1, 1, 1]);
        let gap = self.gap.as_ref().unwrap_or(&length);
        let moved = x + largest(gradient, x, &k, gap) * &length;
        let delta = onto_l1_ball(self.center, &(moved - self.center), &self.eps, false);
        (self.center + delta).clamp(0.0, 1.0)
    }
}

/// Reports counts of numbers that do not fit the images or each other.
pub(crate) fn check_counts(cx: &Build, least: u32, most: u32) {
    let numbers = cx.data.channels * cx.data.height * cx.data.width;
    if i64::from(most) > numbers {
        cx.problem("most", format!("is {most}, but images have {numbers} numbers"), "choose fewer");
    }
    if least > most {
        cx.problem("least", format!("is {least}, more than `most`, {most}"), "choose fewer");
    }
}

impl PgdL1 {
    fn climb(&self, target: &Target, batch: &Batch, mut x: Tensor, name: &str) -> Tensor {
        let within = StepsWithinL1 {
            center: &batch.x,
            eps: batch.now(&self.eps),
            alpha: batch.now(&self.alpha),
            least: self.least,
            most: self.most,
            gap: Some(Tensor::full([] as [i64; 0], self.gap, (x.kind(), x.device()))),
        };
        target.iterate(&x);
        for step in 0..self.steps {
            let loss = |logits: &Tensor| terms::cross_entropy(logits, &batch.y);
            let gradient = target.gradient(&x, self.mode, &loss).gradient;
            x = within.step(batch, &x, &gradient, &format!("{name}.{step}"));
            target.iterate(&x);
        }
        x
    }
}

impl Attack for PgdL1 {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let mut found = self.climb(target, batch, batch.x.shallow_clone(), "pgd_l1");
        for restart in 1..=self.restarts {
            let name = format!("pgd_l1.{restart}");
            // Within the ball, if that is smaller.
            let length = batch.now(&self.eps).clamp_max(1.0);
            let start = (&batch.x + Norm::L1.random(batch, &format!("{name}.start")) * length).clamp(0.0, 1.0);
            let x = self.climb(target, batch, start, &name);
            let broken = target.logits(&x, self.mode).argmax(-1, false).ne_tensor(&batch.labels());
            found = x.where_self(&broken.view([-1, 1, 1, 1]), &found);
        }
        Ok(Adversarial::new(found))
    }

    fn threats(&self) -> Vec<Threat> {
        Threat::within(Norm::L1, &self.eps)
    }

    fn mode(&self) -> Mode {
        self.mode
    }
}

register!(dyn Attack, "pgd_l1", PgdL1, "{ eps: 12, steps: 50 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, attack_from_yaml, images, network};

    fn row(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).view([1, 1, 1, -1])
    }

    // By hand: the first is at 0, the second would be taken below the gap, the third above it; of
    // the others the two largest.
    #[test]
    fn numbers_that_cannot_move_do_not_count() {
        let x = row(&[0.0, 0.04, 0.97, 0.5, 0.96, 0.3, 0.2]);
        let gradient = row(&[9.0, -8.0, 7.0, 1.0, -2.0, -3.0, 0.5]);
        for (k, expected) in [
            (2, [0.0, 0.0, 0.0, 0.0, -1.0, -1.0, 0.0]),
            (3, [0.0, 0.0, 0.0, 1.0, -1.0, -1.0, 0.0]),
            (7, [0.0, 0.0, 0.0, 1.0, -1.0, -1.0, 1.0]),
        ] {
            let found = largest(&gradient, &x, &Tensor::from_slice(&[k]).view([1, 1]), &Tensor::from(0.05));
            assert_close(&found, &row(&expected), 1e-12);
        }
    }

    #[test]
    fn a_second_try_counts_for_what_it_breaks() {
        let (network, images) = (network(Kind::Double), images(24, 4, Kind::Double));
        let batch = images.batch(1);
        let target = Target::new(&network, &batch.noise);
        let run = |restarts: u32| {
            let yaml = format!("{{ type: pgd_l1, eps: 1.5, steps: 5, mode: eval, restarts: {restarts} }}");
            attack_from_yaml(&yaml, Kind::Double).perturb(&target, &batch).unwrap().x
        };
        let wrong = |x: &Tensor| target.logits(x, Mode::Eval).argmax(-1, false).ne_tensor(&batch.y);
        let (once, again) = (run(0), run(4));
        let [first, second] = [&once, &again].map(wrong);
        let count = |which: &Tensor| which.sum(Kind::Int64).int64_value(&[]);
        assert!(count(&first) <= count(&second) && count(&first) < 24 && count(&first) > count(&wrong(&batch.x)));
        // An image that no further try breaks is as it was.
        let kept = again.eq_tensor(&once).flatten(1, -1).all_dim(1, false);
        assert_eq!(count(&second.logical_not().logical_and(&kept.logical_not())), 0);
        let length = Norm::L1.length(&(&again - &batch.x)).max().double_value(&[]);
        assert!((1.0..=1.5 + 1e-12).contains(&length), "{length}");
    }

    #[test]
    fn counts_that_do_not_fit_are_refused() {
        for (yaml, part) in [
            ("{ type: pgd_l1, most: 51 }", "is 51, but images have 50 numbers"),
            ("{ type: pgd_l1, least: 9, most: 8 }", "is 9, more than `most`, 8"),
        ] {
            let refused = std::panic::catch_unwind(|| attack_from_yaml(yaml, Kind::Float)).err().unwrap();
            let message = refused.downcast_ref::<String>().unwrap();
            assert!(message.contains(part), "{message}");
        }
    }
}
