//! Figure 7: what Definitions 1 and 2 count, where the two boundaries intersect and where they do
//! not.

use super::colours::{boundaries, class, dot, grey, hatching, key, line, network, oracle, word};
use super::map::{Map, SQUARE, pairs};
use crate::report::chart::{Dot, Figure, Heading, Plane, Sign, Square, hatch, series};
use crate::theory::{Problem, Trained};

/// Half a ball's grid in points.
const HALF: i32 = 10;

/// The four drawings, from networks on these problems: two whose boundary does not intersect the
/// oracle's, and two whose does. The region { X' : f(X') Y <= 0 } of Y = class 2 is hatched in
/// blue, { X' : f(X') f_oracle(X') <= 0 } in grey.
pub fn figure_7(networks: &[(Problem, &Trained); 4]) -> Figure {
    let panels: Vec<Figure> = networks
        .iter()
        .zip(["a", "b", "c", "d"])
        .map(|((problem, trained), name)| panel(*problem, trained, name))
        .collect();
    let rows: Vec<Figure> = panels.chunks(2).map(|row| Figure::beside("row", row)).collect();
    let hatched = [
        key("f_θ(X')Y ≤ 0, Y = class 2: Definition 1", blue(), Sign::Rising),
        key("f_θ(X')f_{oracle}(X') ≤ 0: Definition 2", grey(), Sign::Falling),
        key("ball of an X of class 2", class(true), Sign::Square),
    ];
    let keys = boundaries().into_iter().chain(hatched).collect();
    let notes = vec!["Networks trained by Eq. 1 on the problems shore, cliff, turn and waves.".to_string()];
    let title = "Figure 7: what the robust error and the calibrated robust error count".to_string();
    let heading = Heading { title, notes, keys, width: rows[0].width }.figure();
    Figure::below("theory_figure7", &[&[heading][..], &rows].concat())
}

fn blue() -> String {
    series(0)
}

fn panel(problem: Problem, trained: &Trained, name: &str) -> Figure {
    let score = Map::new(SQUARE, &|points| trained.score(points));
    let truth = Map::of_oracle(SQUARE, problem.oracle());
    let first = |at: [f64; 2]| score.at(at) <= 0.0;
    let apart = |at: [f64; 2]| (score.at(at) > 0.0) != (truth.at(at) > 0.0);
    let (x, meets_blue) = sample(problem, &first, &apart);
    let crossings = crossings(&score, &truth);
    let title = match crossings {
        0 => format!("({name}) the boundaries do not intersect"),
        1 => format!("({name}) the boundaries intersect once"),
        _ => format!("({name}) the boundaries intersect {crossings} times"),
    };
    let note = if meets_blue {
        "the ball of X meets blue and grey: X is in S_R and in S_{CaliR}"
    } else {
        "the ball of X meets grey only: X is in S_{CaliR} and not in S_R"
    };
    Plane {
        name: name.into(),
        title,
        note: note.into(),
        window: SQUARE,
        numbers: false,
        ground: truth.ground(),
        dots: vec![Dot { radius: 3.6, ..dot(x, class(true), false) }],
        curves: vec![
            hatching(blue(), hatch(SQUARE, 0.022, true, &first)),
            hatching(grey(), hatch(SQUARE, 0.014, false, &apart)),
            line(oracle(), truth.boundary()),
            line(network(), score.boundary()),
        ],
        squares: vec![Square { at: x, radius: problem.eps(), colour: class(true), dashed: false }],
        words: vec![
            word("X", x, [-7.0, -5.0], class(true)),
            word("class 1", [0.5, 0.06], [0.0, 0.0], class(false)),
            word("class 2", [0.5, 0.92], [0.0, 0.0], class(true)),
        ],
    }
    .figure()
}

/// A point of class 2 whose ball meets the grey region, if possible without the blue one; and
/// whether it meets blue.
fn sample(problem: Problem, first: &dyn Fn([f64; 2]) -> bool, apart: &dyn Fn([f64; 2]) -> bool) -> ([f64; 2], bool) {
    let points = problem.sample(600, 11, "figure 7");
    let labels: Vec<i64> = Vec::try_from(problem.oracle().label(&points)).unwrap_or_default();
    let second = pairs(&points).into_iter().zip(labels).filter(|(_, label)| *label == 1).map(|(at, _)| at);
    let inside = second.filter(|at| at.iter().all(|value| (0.12..0.88).contains(value)));
    // How much of the ball is in a region.
    let share = |at: [f64; 2], region: &dyn Fn([f64; 2]) -> bool| {
        let along = |n: i32| f64::from(n) / f64::from(HALF) * problem.eps();
        let looks = (-HALF..=HALF).flat_map(|i| (-HALF..=HALF).map(move |j| [along(i), along(j)]));
        looks.filter(|offset| region([at[0] + offset[0], at[1] + offset[1]])).count()
    };
    let evaluated = inside.map(|at| (at, share(at, first), share(at, apart))).filter(|found| found.2 > 0);
    let best = evaluated.max_by_key(|&(_, blue, grey)| (blue == 0, grey.min(160), blue.min(60)));
    best.map_or(([0.5, 0.6], true), |(at, blue, _)| (at, blue > 0))
}

/// How often the network's boundary changes sides of the oracle's, from left to right.
fn crossings(score: &Map, truth: &Map) -> usize {
    let mut sides: Vec<bool> = Vec::new();
    let mut ends: Vec<[f64; 2]> = score.boundary().into_iter().flatten().collect();
    ends.sort_by(|a, b| a[0].total_cmp(&b[0]));
    sides.extend(ends.iter().map(|at| truth.at(*at) > 0.0));
    sides.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Straight boundaries: the oracle's at y = x, the network's at y = 1/2 or y = -1.
    #[test]
    fn crossings_are_counted_along_the_networks_boundary() {
        let truth = Map::new(SQUARE, &|p| p.select(1, 1) - p.select(1, 0));
        let flat = |height: f64| Map::new(SQUARE, &move |p| p.select(1, 1) - height);
        assert_eq!(crossings(&flat(0.5), &truth), 1);
        assert_eq!(crossings(&flat(-1.0), &truth), 0);
    }

    #[test]
    fn a_sample_meets_grey_and_if_it_can_nothing_else() {
        // f's boundary lies below the oracle's: between them f differs from the oracle, and is
        // class 2.
        let below = |at: [f64; 2]| at[1] < 0.3;
        let between = |at: [f64; 2]| (0.3..0.5).contains(&at[1]);
        let (x, blue) = sample(Problem::Shore, &below, &between);
        assert!(!blue && x[1] > 0.38 && x[1] < 0.58, "{x:?}");
        let (_, blue) = sample(Problem::Shore, &|_| true, &between);
        assert!(blue);
    }
}
