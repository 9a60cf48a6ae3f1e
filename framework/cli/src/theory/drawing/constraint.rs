//! Figure 9: Eq. 7's constraint where it is active and where it is not.

use super::colours::{class, dot, key, line, network, oracle, word, zhang};
use super::map::{Map, SQUARE, pairs, points};
use crate::report::chart::{Curve, Dot, Figure, Heading, Plane, Sign, Square, series};
use crate::theory::ball::{moved, offsets};
use crate::theory::{Objective, Oracle, Task, Trained, train};
use foil::Result;

const EPS: f64 = 0.12;
/// The point that is named x_1; the others come after it. Without x_1, no ball is crossed by the
/// oracle's boundary.
const ACTIVE: [[f64; 2]; 15] = [
    [0.50, 0.54],
    [0.20, 0.70],
    [0.78, 0.585],
    [0.40, 0.84],
    [0.62, 0.82],
    [0.10, 0.88],
    [0.90, 0.86],
    [0.21, 0.41],
    [0.765, 0.30],
    [0.50, 0.26],
    [0.34, 0.15],
    [0.64, 0.12],
    [0.10, 0.14],
    [0.90, 0.10],
    [0.06, 0.36],
];
const INACTIVE: [f64; 2] = [0.50, 0.69];
/// Points from a ball's centre to its edge in the search for its maximum.
const HALF: i64 = 40;

/// Networks trained by Eq. 17 and by Eq. 7 on the same few points, once with an x_1 whose ball the
/// oracle's boundary crosses and once without: both inner maxima and both boundaries.
///
/// # Errors What training reports.
pub fn figure_9(steps: u64, seed: u64) -> Result<Figure> {
    let inactive = [&[INACTIVE], &ACTIVE[1..]].concat();
    let panels = [
        panel("(a) active: f_{oracle}'s boundary crosses the ball of x_1", &ACTIVE, steps, seed)?,
        panel("(b) inactive: f_{oracle}'s boundary crosses no ball", &inactive, steps, seed)?,
    ];
    let panels = Figure::beside("panels", &panels);
    let keys = vec![
        key("boundary of the oracle, f_{oracle}", oracle(), Sign::Line),
        key("learned by Eq. 17", zhang(), Sign::Line),
        key("learned by Eq. 7", network(), Sign::Dashed),
        key("x'_1, maximum of Eq. 17", zhang(), Sign::Dot),
        key("x*_1, maximum of Eq. 7", star(), Sign::Dot),
        key("class 1 with its ball", class(false), Sign::Square),
        key("class 2 with its ball", class(true), Sign::Square),
    ];
    let title = "Figure 9: the constraint f_{oracle}(X') = Y, active and inactive".to_string();
    let notes = vec![format!("Networks trained on the points shown, ε = {EPS} within Linf, λ = 1.")];
    let heading = Heading { title, notes, keys, width: panels.width }.figure();
    Ok(Figure::below("theory_figure9", &[heading, panels]))
}

fn star() -> String {
    series(4)
}

fn panel(title: &str, at: &[[f64; 2]], steps: u64, seed: u64) -> Result<Figure> {
    let oracle_of = Oracle::Swell;
    let trained = |objective| {
        let task = Task { oracle: oracle_of, eps: EPS, points: points(at) };
        train(task, objective, steps, seed)
    };
    let (general, proposed) = (trained(Objective::Eq17)?, trained(Objective::Eq7)?);
    let [worst, star_at] = [maximum(&general, at[0], false), maximum(&proposed, at[0], true)];
    let truth = Map::of_oracle(SQUARE, oracle_of);
    let boundary = |trained: &Trained| Map::new(SQUARE, &|points| trained.score(points)).boundary();
    let labels: Vec<i64> = Vec::try_from(oracle_of.label(&points(at)))?;
    let colours: Vec<String> = labels.iter().map(|&label| class(label == 1)).collect();
    let each = || at.iter().zip(&colours);
    let mut dots: Vec<Dot> =
        each().map(|(&at, colour)| Dot { radius: 3.0, ..dot(at, colour.clone(), false) }).collect();
    dots.push(Dot { radius: 4.6, ..dot(worst, zhang(), false) });
    dots.push(Dot { radius: 4.6, ..dot(star_at, star(), false) });
    let squares =
        each().map(|(&at, colour)| Square { at, radius: EPS, colour: colour.clone(), dashed: false }).collect();
    let note = match truth.at(worst) < 0.0 {
        true => "x'_1 is beyond f_{oracle}'s boundary, x*_1 is on it",
        false => "x'_1 and x*_1 are both of x_1's class",
    };
    let same = (worst[0] - star_at[0]).hypot(worst[1] - star_at[1]) < 0.02;
    let mut words = vec![word("x_1", at[0], [7.0, -5.0], class(true))];
    if same {
        words.push(word("x'_1 = x*_1", star_at, [-8.0, -8.0], star()));
    } else {
        words.push(word("x'_1", worst, [8.0, 14.0], zhang()));
        words.push(word("x*_1", star_at, [8.0, -8.0], star()));
    }
    let proposed = Curve { dashed: true, ..line(network(), boundary(&proposed)) };
    let plane = Plane {
        name: "constraint".into(),
        title: title.into(),
        note: note.into(),
        window: SQUARE,
        numbers: false,
        ground: truth.ground(),
        dots,
        curves: vec![line(oracle(), truth.boundary()), line(zhang(), boundary(&general)), proposed],
        squares,
        words,
    };
    Ok(plane.figure())
}

/// Where in the ball of `x` the network's loss is largest, on a fine grid; `constrained` leaves out
/// what the oracle gives another class than x.
fn maximum(trained: &Trained, x: [f64; 2], constrained: bool) -> [f64; 2] {
    let (oracle, x) = (trained.task.oracle, points(&[x]));
    let all: Vec<_> = offsets(trained.task.eps, HALF).map(|offset| moved(&x, &offset)).collect();
    let all = tch::Tensor::cat(&all, 0);
    let margin = trained.score(&all) * oracle.sign(&x);
    let allowed = oracle.label(&all).eq_tensor(&oracle.label(&x));
    let margin = if constrained { margin.masked_fill(&allowed.logical_not(), f64::INFINITY) } else { margin };
    let least = margin.argmin(0, false).int64_value(&[]);
    pairs(&all.narrow(0, least, 1))[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theory::ball::crossed;

    #[test]
    fn of_all_balls_the_boundary_crosses_that_of_the_active_x_1_only() {
        let found = |at: &[[f64; 2]]| Vec::<bool>::try_from(crossed(Oracle::Swell, &points(at), EPS, HALF)).unwrap();
        let active = found(&ACTIVE);
        assert!(active[0] && active[1..].iter().all(|crossed| !crossed), "{active:?}");
        assert_eq!(found(&[INACTIVE]), [false]);
    }
}
