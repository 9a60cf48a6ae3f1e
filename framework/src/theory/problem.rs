//! Two classes in the unit square, and who knows them.

use crate::nn::{Noise, key_of, name_key};
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

/// A problem with a known oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// A wave between the classes, as high as the ball is wide.
    Waves,
    /// Islands of one class, not much larger than the ball.
    Islands,
    /// The wave again, but no point is so near to it that its ball reaches over.
    Apart,
}

impl Problem {
    /// All of them.
    pub const ALL: [Problem; 3] = [Problem::Waves, Problem::Islands, Problem::Apart];

    /// The name in tables and of files.
    pub fn name(self) -> &'static str {
        match self {
            Problem::Waves => "waves",
            Problem::Islands => "islands",
            Problem::Apart => "apart",
        }
    }

    /// What it shows.
    pub fn about(self) -> &'static str {
        match self {
            Problem::Waves => "Balls reach over the wave between the classes",
            Problem::Islands => "Islands not much larger than a ball",
            Problem::Apart => "No ball reaches over the boundary",
        }
    }

    /// The radius of the Linf ball, in units of the square.
    pub fn eps(self) -> f64 {
        0.08
    }

    /// The oracle's class, 0 or 1, of points `[…, 2]` in the unit square: `[…]` int64.
    pub fn oracle(self, points: &Tensor) -> Tensor {
        self.level(points).ge(0.0).to_kind(Kind::Int64)
    }

    /// A number that is 0 on the boundary between the oracle's classes, and larger on the side of class 1.
    pub(super) fn level(self, points: &Tensor) -> Tensor {
        let (x, y) = (points.select(-1, 0), points.select(-1, 1));
        match self {
            Problem::Waves | Problem::Apart => y - 0.5 - (x * (3.0 * TAU)).sin() * 0.14,
            Problem::Islands => {
                // Four discs, in the middle of the square's quarters.
                let (dx, dy) = (((x * 2.0).frac() - 0.5) * 0.5, ((y * 2.0).frac() - 0.5) * 0.5);
                0.15 * 0.15 - (dx.square() + dy.square())
            }
        }
    }

    /// `n` points `[n, 2]`, uniform in the part of the square where there are points; the same ones for the same `seed`.
    pub fn sample(self, n: i64, seed: u64, purpose: &str) -> Tensor {
        let noise = Noise::seeded(&[seed, name_key(purpose)], 4 * n, Device::Cpu);
        let points = noise.uniform("points", &[2], Kind::Float);
        let points = match self {
            Problem::Waves | Problem::Islands => points,
            Problem::Apart => {
                let own = self.oracle(&points);
                let alone = self.ball(8).fold(own.ones_like().to_kind(Kind::Bool), |alone, offset| {
                    alone.logical_and(&self.oracle(&(&points + offset * 1.1).clamp(0.0, 1.0)).eq_tensor(&own))
                });
                points.index_select(0, &alone.nonzero().squeeze_dim(1))
            }
        };
        points.narrow(0, 0, n.min(points.size()[0]))
    }

    /// Offsets `[2]` that fill the ball: its grid of `2 * half + 1` points a side, edges and centre among them.
    pub fn ball(self, half: i64) -> impl Iterator<Item = Tensor> {
        let step = self.eps() / half as f64;
        (-half..=half).flat_map(move |i| {
            (-half..=half).map(move |j| Tensor::from_slice(&[(i as f64 * step) as f32, (j as f64 * step) as f32]))
        })
    }

    /// The key of a purpose's random numbers.
    pub(super) fn key(self, seed: u64, purpose: &str) -> Tensor {
        Tensor::from(key_of(&[seed, name_key(self.name()), name_key(purpose)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_knows_both_sides() {
        let points = Tensor::from_slice2(&[[0.25f32, 0.9], [0.25, 0.1], [0.0833, 0.6], [0.0833, 0.66], [0.25, 0.25]]);
        let classes = |problem: Problem| Vec::<i64>::try_from(problem.oracle(&points)).unwrap();
        assert_eq!(classes(Problem::Waves)[..4], [1, 0, 0, 1]);
        assert_eq!(classes(Problem::Islands)[4], 1);
        for problem in Problem::ALL {
            let share = problem
                .oracle(&problem.sample(2000, 0, "test"))
                .to_kind(Kind::Double)
                .mean(None::<Kind>)
                .double_value(&[]);
            assert!((0.2..0.8).contains(&share), "{problem:?}: {share}");
        }
    }

    #[test]
    fn where_classes_are_apart_no_ball_reaches_over() {
        let problem = Problem::Apart;
        let points = problem.sample(500, 3, "test");
        assert_eq!(points.size(), [500, 2]);
        let own = problem.oracle(&points);
        for offset in problem.ball(5) {
            assert_eq!(problem.oracle(&(&points + offset).clamp(0.0, 1.0)), own);
        }
    }
}
