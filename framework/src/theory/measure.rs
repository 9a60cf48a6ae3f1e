//! Errors over whole balls, by looking at a fine grid of each.

use super::{Problem, Trained};
use tch::{Kind, Tensor};

/// Shares of test points, 0 to 1. `o` is the oracle, +1 or -1; `f` the network's score, whose sign is its answer; x' runs
/// over the Linf ball around x, cut to the unit square. A score of 0 is a wrong answer.
///
/// What follows is our reading of the CAT paper's two theorems: their words were not at hand.
///
/// Theorem 1: `robust <= calibrated`. Where f(x') differs from y and the oracle still says y, f differs from the oracle.
/// With the class of x asked for in all of the ball, as in Eq. 7 (`worst_case`), the inequality does not hold: the oracle
/// itself has `calibrated` 0, and a `worst_case` above 0 wherever a ball reaches over its boundary.
///
/// Theorem 2: `calibrated <= bound`, with bound = E phi(f(x) o(x)) + E max phi(f(x) o(x) f(x') o(x')) and
/// phi(z) = log2(1 + exp(-z)), which is at least 1 where z <= 0. If f is wrong at x, the first term is at least 1. If it is
/// right there and wrong at some x', the product is not positive, and the second is. This is the form of TRADES's bound
/// (Zhang et al. 2019, Theorem 3.1) with the oracle's class at each point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// f(x) is wrong.
    pub natural: f64,
    /// Some f(x') is not the class of x: what Eq. 7 makes small.
    pub worst_case: f64,
    /// Some f(x') is not the class of x, though the oracle says it is: the robust error.
    pub robust: f64,
    /// Some f(x') is not the oracle's class of x': the calibrated robust error, what Eq. 17 makes small.
    pub calibrated: f64,
    /// The share of the ball where f(x') is not the oracle's class of x', on average. Not in the paper: `calibrated` counts a
    /// ball as soon as the two boundaries differ by a hair in it, and this tells a hair from a hand.
    pub within: f64,
    /// The right side of Theorem 2. Above 1 it says nothing.
    pub bound: f64,
}

/// Grid points from a ball's centre to its edge.
const HALF: i64 = 16;
const POINTS: i64 = 2000;

/// The errors of a network on 2,000 test points, each ball a grid of 33 x 33.
pub fn errors(problem: Problem, trained: &Trained, seed: u64) -> Errors {
    measure(problem, &|points| trained.score(points), seed)
}

/// The errors of the oracle itself.
pub fn of_oracle(problem: Problem, seed: u64) -> Errors {
    measure(problem, &|points| sign(problem, points) * 20.0, seed)
}

fn sign(problem: Problem, points: &Tensor) -> Tensor {
    problem.oracle(points).to_kind(Kind::Float) * 2.0 - 1.0
}

fn measure(problem: Problem, score: &dyn Fn(&Tensor) -> Tensor, seed: u64) -> Errors {
    let points = problem.sample(POINTS, seed, "test");
    let own = sign(problem, &points);
    let right = score(&points) * &own;
    let far = right.full_like(f64::INFINITY);
    let (mut worst, mut robust, mut low, mut high) = (far.copy(), far.copy(), far.copy(), -far.copy());
    let (mut wrong, mut looks) = (right.zeros_like(), 0.0);
    for offset in problem.ball(HALF) {
        let near = (&points + offset).clamp(0.0, 1.0);
        let (there, f) = (sign(problem, &near), score(&near));
        let by_label = &f * &own;
        robust = robust.minimum(&by_label.where_self(&there.eq_tensor(&own), &far));
        worst = worst.minimum(&by_label);
        let by_oracle = f * there;
        wrong += by_oracle.le(0.0).to_kind(Kind::Float);
        looks += 1.0;
        low = low.minimum(&by_oracle);
        high = high.maximum(&by_oracle);
    }
    let share = |wrong: Tensor| wrong.to_kind(Kind::Double).mean(None::<Kind>).double_value(&[]);
    // The smallest product over the ball: with the smallest factor if f(x) o(x) is positive, with the largest if not.
    let product = (&right * &low).minimum(&(&right * &high));
    Errors {
        natural: share(right.le(0.0)),
        worst_case: share(worst.le(0.0)),
        robust: share(robust.le(0.0)),
        calibrated: share(low.le(0.0)),
        within: share(wrong / looks),
        bound: share(phi(&right)) + share(phi(&product)),
    }
}

/// log2(1 + exp(-z)).
fn phi(z: &Tensor) -> Tensor {
    (-z).softplus() / std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that says what the oracle would if its wave were flat.
    fn flat(points: &Tensor) -> Tensor {
        (points.select(-1, 1) - 0.5) * 40.0
    }

    #[test]
    fn the_oracle_is_calibrated_but_not_robust_by_the_label_of_x() {
        for problem in [Problem::Waves, Problem::Islands] {
            let oracle = of_oracle(problem, 0);
            assert_eq!((oracle.natural, oracle.robust, oracle.calibrated), (0.0, 0.0, 0.0), "{problem:?}");
            assert!(oracle.worst_case > 0.2 && oracle.bound < 1e-3, "{problem:?}: {oracle:?}");
        }
        let apart = of_oracle(Problem::Apart, 0);
        assert_eq!((apart.worst_case, apart.calibrated), (0.0, 0.0));
    }

    #[test]
    fn both_theorems_hold_for_any_network() {
        for problem in Problem::ALL {
            let zero = |points: &Tensor| points.select(-1, 0).zeros_like();
            let wild = |points: &Tensor| (points.select(-1, 0) * 37.0).sin() * 3.0;
            for score in [&flat as &dyn Fn(&Tensor) -> Tensor, &zero, &wild] {
                let found = measure(problem, score, 1);
                assert!(found.natural <= found.robust && found.robust <= found.calibrated, "{problem:?}: {found:?}");
                assert!(found.robust <= found.worst_case && found.calibrated <= found.bound, "{problem:?}: {found:?}");
            }
        }
    }

    // A flat boundary at 1/2 under waves of height 0.14: of all points, (2/pi) * 0.14 lie between the two.
    #[test]
    fn the_natural_error_is_the_area_between_the_boundaries() {
        let found = measure(Problem::Waves, &flat, 5);
        assert!((found.natural - 0.14 * 2.0 / std::f64::consts::PI).abs() < 0.02, "{found:?}");
    }
}
