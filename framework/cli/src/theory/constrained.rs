//! The inner maximum of Eq. 7: over X' in the ball with f_oracle(X') = Y.

use super::{Oracle, ball};
use foil::attack::{Adversarial, Attack, Batch, Box01, Target};
use foil::loss::terms;
use foil::nn::Mode;
use foil::{Error, Result};
use tch::{Kind, Tensor};

/// Looks for the largest loss in the ball among points that the oracle gives the label's class.
/// Gradient steps are taken only as far as the oracle says Y, and a coarse grid of the ball is
/// searched too; the best of all these points is returned. X itself is one of them, so there always
/// is one.
#[derive(Debug)]
pub(super) struct Constrained {
    pub oracle: Oracle,
    /// The ball's radius.
    pub eps: f64,
    /// Length of a step along each axis.
    pub alpha: f64,
    pub steps: u32,
}

/// Points of the coarse grid from the ball's centre to its edge.
const HALF: i64 = 2;

impl Constrained {
    /// Whether the oracle gives points `[N, 1, 1, 2]` the classes `y` `[N]`: `[N, 1, 1, 1]` bool.
    fn allows(&self, x: &Tensor, y: &Tensor) -> Tensor {
        self.oracle.label(&x.view([-1, 2])).eq_tensor(y).view([-1, 1, 1, 1])
    }

    /// One step along `direction`, or that part of it which the oracle allows: along one axis, a
    /// quarter, or nothing.
    fn step(&self, ball: &Box01, x: &Tensor, direction: &Tensor, y: &Tensor) -> Tensor {
        let axes = [[0.25f32, 0.25], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
        axes.iter().fold(x.shallow_clone(), |chosen, axes| {
            let tried = ball.project(&(x + direction * Tensor::from_slice(axes) * self.alpha));
            tried.where_self(&self.allows(&tried, y), &chosen)
        })
    }
}

impl Attack for Constrained {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let y = &batch.y;
        let outside = self.allows(&batch.x, y).logical_not().sum(Kind::Int64).int64_value(&[]);
        if outside > 0 {
            return Err(Error::new(format!("the oracle gives {outside} points another class than their label"))
                .help("Eq. 7's maximum is over points with f_oracle(X') = Y, and there may be none for these"));
        }
        let ball = Box01::new(&batch.x, &Tensor::from(self.eps).to_kind(batch.x.kind()), true);
        let start = ball.project(&(&batch.x + (batch.uniform("start") * 2.0 - 1.0) * self.eps));
        let mut x = start.where_self(&self.allows(&start, y), &batch.x);
        let loss = |x: &Tensor, y: &Tensor| terms::cross_entropy(&target.logits(x, Mode::Eval), y).view([-1, 1, 1, 1]);
        let mut best = (batch.x.shallow_clone(), loss(&batch.x, y));
        let mut offer = |x: &Tensor, value: &Tensor| {
            best = (x.where_self(&value.gt_tensor(&best.1), &best.0), value.maximum(&best.1));
        };
        for step in 0..=self.steps {
            let ascent = target.gradient(&x, Mode::Eval, &|logits| terms::cross_entropy(logits, y));
            offer(&x, &terms::cross_entropy(&ascent.logits, y).view([-1, 1, 1, 1]));
            if step < self.steps {
                x = self.step(&ball, &x, &ascent.gradient.sign(), y);
            }
        }
        let grid: Vec<Tensor> =
            ball::offsets(self.eps, HALF).map(|offset| ball.project(&(&batch.x + offset))).collect();
        let (all, labels) = (Tensor::cat(&grid, 0), y.repeat([grid.len() as i64]));
        let values = loss(&all, &labels).masked_fill(&self.allows(&all, &labels).logical_not(), f64::NEG_INFINITY);
        for (there, value) in grid.iter().zip(values.chunk(grid.len() as i64, 0)) {
            offer(there, &value);
        }
        Ok(Adversarial::new(best.0))
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }

    fn capturable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theory::Problem;
    use foil::engine::Network;
    use foil::model::Model;
    use foil::nn::{Builder, Noise, Pass};
    use foil::scheduler::Clock;
    use tch::Device;

    /// A score that a ball holds several maxima of.
    fn hilly(points: &Tensor) -> Tensor {
        let (x, y) = (points.select(-1, 0), points.select(-1, 1));
        (&y - 0.5) * 8.0 + (x * 40.0).sin() + (y * 30.0).sin()
    }

    struct Hilly;

    impl Model for Hilly {
        fn forward(&self, _: &Pass, xs: &Tensor) -> Tensor {
            let score = hilly(&xs.view([-1, 2]));
            Tensor::stack(&[&score.zeros_like(), &score], 1)
        }
    }

    /// Test points, and the result of the search for them with these labels.
    fn found(problem: Problem, y: impl Fn(&Tensor) -> Tensor) -> (Tensor, Result<Tensor>) {
        let network = Network::new(Box::new(Hilly), Builder::default(), Some(0), Kind::Float, Device::Cpu);
        let points = problem.sample(600, 7, "test");
        let (oracle, eps) = (problem.oracle(), problem.eps());
        let mut attack = Constrained { oracle, eps, alpha: 0.25 * eps, steps: 10 };
        let noise = Noise::seeded(&[3], 600, Device::Cpu);
        let (clock, index) = (Clock::new(1, 1, Device::Cpu), Tensor::arange(600, (Kind::Int64, Device::Cpu)));
        let (x, y) = (points.view([-1, 1, 1, 2]), y(&points));
        let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
        let target = Target::new(&network, &batch.noise);
        let made = attack.perturb(&target, &batch).map(|made| made.x.view([-1, 2]));
        (points, made)
    }

    #[test]
    fn it_never_returns_a_point_of_another_class_nor_one_outside_the_ball() {
        for problem in Problem::ALL {
            let (points, made) = found(problem, |points| problem.oracle().label(points));
            let made = made.unwrap();
            assert_eq!(problem.oracle().label(&made), problem.oracle().label(&points), "{problem:?}");
            let far = (&made - &points).abs().max().double_value(&[]);
            assert!(far <= problem.eps() + 1e-6 && far > 0.9 * problem.eps(), "{problem:?}: {far}");
            assert!(made.min().double_value(&[]) >= 0.0 && made.max().double_value(&[]) <= 1.0);
        }
    }

    // The grid of the ball in 33 x 33 points, those of the other class left out, finds hardly a
    // larger loss.
    #[test]
    fn it_finds_what_a_fine_grid_finds() {
        let problem = Problem::Waves;
        let (points, made) = found(problem, |points| problem.oracle().label(points));
        let own = problem.oracle().sign(&points);
        let margin = |x: &Tensor| hilly(x) * &own;
        let least = ball::offsets(problem.eps(), 16).fold(margin(&points), |least, offset| {
            let there = ball::moved(&points, &offset);
            let allowed = problem.oracle().sign(&there).eq_tensor(&own);
            least.minimum(&margin(&there).where_self(&allowed, &least))
        });
        let mean = |x: Tensor| x.mean(None::<Kind>).double_value(&[]);
        let behind = mean((margin(&made.unwrap()) - &least).clamp_min(0.0));
        let gain = mean(margin(&points) - least);
        assert!(gain > 0.5 && behind < 0.05 * gain, "{behind} of {gain}");
    }

    #[test]
    fn a_label_that_is_not_the_oracles_is_an_error() {
        let (_, made) = found(Problem::Waves, |points| 1 - Problem::Waves.oracle().label(points));
        let error = made.unwrap_err().to_string();
        assert!(error.contains("600 points another class than their label"), "{error}");
    }
}
