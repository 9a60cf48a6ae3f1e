//! Where points are, under which oracle.

use super::Oracle;
use super::ball::crossed;
use foil::nn::{Noise, name_key};
use tch::{Device, Kind, Tensor};

/// An oracle and a distribution of points in the unit square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// A wave between the classes, as high as the ball is wide; points everywhere.
    Waves,
    /// Islands of class 2, not much larger than the ball; points everywhere.
    Islands,
    /// The wave again, but without the points whose ball its boundary crosses.
    Apart,
    /// Class 2 comes up to the boundary, class 1 stays three radii away from it.
    Shore,
    /// `Shore` the other way round; for Figure 7 only.
    Cliff,
    /// `Shore` in the left half, `Cliff` in the right one; for Figure 7 only.
    Turn,
}

/// How far the class stays away that does not come up to the boundary.
const AWAY: f64 = 0.24;

impl Problem {
    /// Those that are measured.
    pub const ALL: [Problem; 4] = [Problem::Waves, Problem::Islands, Problem::Apart, Problem::Shore];

    /// The name in tables and of files.
    pub fn name(self) -> &'static str {
        match self {
            Problem::Waves => "waves",
            Problem::Islands => "islands",
            Problem::Apart => "apart",
            Problem::Shore => "shore",
            Problem::Cliff => "cliff",
            Problem::Turn => "turn",
        }
    }

    /// What it shows.
    pub fn about(self) -> &'static str {
        match self {
            Problem::Waves => "the oracle's boundary crosses balls on both sides of it",
            Problem::Islands => "islands of class 2, not much larger than a ball",
            Problem::Apart => "the oracle's boundary crosses no ball",
            Problem::Shore => "the oracle's boundary crosses balls of class 2 only",
            Problem::Cliff => "the oracle's boundary crosses balls of class 1 only",
            Problem::Turn => "class 1 keeps away on the left, class 2 on the right",
        }
    }

    /// The radius of the Linf ball, in units of the square.
    pub fn eps(self) -> f64 {
        0.08
    }

    /// Who knows the class.
    pub fn oracle(self) -> Oracle {
        match self {
            Problem::Waves | Problem::Apart => Oracle::Waves,
            Problem::Islands => Oracle::Islands,
            Problem::Shore | Problem::Cliff | Problem::Turn => Oracle::Swell,
        }
    }

    /// `n` points `[n, 2]`, uniform in the part of the square where there are points; the same ones
    /// for the same `seed`.
    pub fn sample(self, n: i64, seed: u64, purpose: &str) -> Tensor {
        let noise = Noise::seeded(&[seed, name_key(purpose)], 4 * n, Device::Cpu);
        let points = noise.uniform("points", &[2], Kind::Float);
        let kept = points.index_select(0, &self.holds(&points).nonzero().squeeze_dim(1));
        kept.narrow(0, 0, n.min(kept.size()[0]))
    }

    /// Whether there may be points at these places `[n, 2]`: `[n]` bool.
    fn holds(self, points: &Tensor) -> Tensor {
        let level = self.oracle().level(points);
        let (above, below) = (level.ge(0.0), level.lt(0.0));
        let (far_above, far_below) = (level.ge(AWAY), level.lt(-AWAY));
        match self {
            Problem::Waves | Problem::Islands => above.logical_or(&below),
            Problem::Apart => crossed(self.oracle(), points, 1.1 * self.eps(), 8).logical_not(),
            Problem::Shore => above.logical_or(&far_below),
            Problem::Cliff => far_above.logical_or(&below),
            Problem::Turn => {
                let left = points.select(1, 0).lt(0.5);
                above.logical_or(&far_below).where_self(&left, &far_above.logical_or(&below))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_classes_are_there() {
        for problem in Problem::ALL {
            let points = problem.sample(2000, 0, "test");
            assert_eq!(points.size(), [2000, 2]);
            let share = problem.oracle().label(&points).to_kind(Kind::Double).mean(None::<Kind>).double_value(&[]);
            assert!((0.2..0.8).contains(&share), "{problem:?}: {share}");
        }
    }

    /// For how many of the points of class 2, and of class 1, the oracle's boundary crosses the
    /// ball.
    fn crossings(problem: Problem) -> [i64; 2] {
        let points = problem.sample(500, 3, "test");
        let crossed = crossed(problem.oracle(), &points, problem.eps(), 5);
        let second = problem.oracle().label(&points).eq(1);
        let count = |which: Tensor| crossed.logical_and(&which).sum(Kind::Int64).int64_value(&[]);
        [count(second.copy()), count(second.logical_not())]
    }

    #[test]
    fn balls_are_crossed_on_the_sides_that_the_problem_says() {
        assert_eq!(crossings(Problem::Apart), [0, 0]);
        let [shore, cliff] = [crossings(Problem::Shore), crossings(Problem::Cliff)];
        assert!(shore[0] > 40 && shore[1] == 0, "{shore:?}");
        assert!(cliff[0] == 0 && cliff[1] > 40, "{cliff:?}");
        for problem in [Problem::Waves, Problem::Turn] {
            assert!(crossings(problem).iter().all(|&count| count > 20), "{problem:?}");
        }
    }
}
