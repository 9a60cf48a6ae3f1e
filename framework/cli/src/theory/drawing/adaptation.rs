//! Figure 8: instance-level against pixel-level adaptation.

use super::Networks;
use super::colours::{boundaries, class, dot, key, line, network, oracle, word};
use super::map::{Map, Window};
use crate::report::chart::{Curve, Dot, Figure, Heading, Plane, Sign, Square, series};
use crate::theory::{Objective, Problem};

/// The result of an adaptation around x on a boundary.
#[derive(Debug, PartialEq)]
struct Found {
    /// The radius of the smallest ball that reaches the boundary.
    radius: f64,
    /// The point where it does: all that the instance level finds.
    instance: [f64; 2],
    /// The boundary within the ball of radius eps: all that the pixel level may find.
    pixel: Vec<Vec<[f64; 2]>>,
    /// Two of those, furthest apart.
    ends: [[f64; 2]; 2],
}

/// From x, an instance-level adaptation shrinks eps to eps' and finds x'_0 on the network's
/// boundary; a pixel-level one may find x'_1, x'_2 or any other place of the boundary in the ball.
/// Drawn from Eq. 7's networks.
pub fn figure_8(waves: &Networks, islands: &Networks) -> Figure {
    let panels = [
        panel(waves, [[0.26, 0.58], [0.51, 0.83]], [0.425, 0.688], [20.0, -8.0]),
        panel(islands, [[0.59, 0.91], [0.51, 0.83]], [0.765, 0.655], [9.0, 16.0]),
    ];
    let panels = Figure::beside("panels", &panels);
    let levels = [
        key("B(x, ε)", class(true), Sign::Square),
        key("the instance level: ε shrinks to ε', and finds x'_0", instance(), Sign::Dot),
        key("the pixel level: x'_1, x'_2 or any place of the boundary in B(x, ε)", pixel(), Sign::Line),
    ];
    let keys = boundaries().into_iter().chain(levels).collect();
    let title = "Figure 8: adversarial examples on the boundary, by instance and by pixel".to_string();
    let notes = vec!["Networks trained by Eq. 7; x is a point of class 2.".to_string()];
    let heading = Heading { title, notes, keys, width: panels.width }.figure();
    Figure::below("theory_figure8", &[heading, panels])
}

fn instance() -> String {
    series(3)
}

fn pixel() -> String {
    series(4)
}

/// `beside` is where the names of x'_1 and x'_2 are, to the left and to the right of them.
fn panel(networks: &Networks, window: Window, x: [f64; 2], beside: [f64; 2]) -> Figure {
    let (problem, trained) = (networks.problem, networks.by(Objective::Eq7));
    let eps = problem.eps();
    let score = Map::new(window, &|points| trained.score(points));
    let truth = Map::of_oracle(window, problem.oracle());
    let boundary = score.boundary();
    let mut curves = vec![line(oracle(), truth.boundary()), line(network(), boundary.clone())];
    let mut squares = vec![Square { at: x, radius: eps, colour: class(true), dashed: false }];
    let mut dots = vec![Dot { radius: 4.0, ..dot(x, class(true), false) }];
    let mut words =
        vec![word("x", x, [8.0, 0.0], class(true)), word("ε", [x[0], x[1] + eps], [0.0, -6.0], class(true))];
    let mut note = "the network's boundary is not in the ball".to_string();
    if let Some(found) = adapted(&boundary, x, eps) {
        note = format!("ε = {eps}, ε' = {:.3}", found.radius);
        curves.push(Curve { colour: pixel(), width: 5.0, dashed: false, pieces: found.pixel });
        squares.push(Square { at: x, radius: found.radius, colour: instance(), dashed: true });
        words.push(word("ε'", [x[0], x[1] + found.radius], [0.0, -5.0], instance()));
        let named = [
            (found.instance, "x'_0", instance(), [0.0, 19.0]),
            (found.ends[0], "x'_1", pixel(), [-beside[0], beside[1]]),
            (found.ends[1], "x'_2", pixel(), beside),
        ];
        for (at, name, colour, offset) in named {
            dots.push(Dot { radius: 4.6, ..dot(at, colour.clone(), false) });
            words.push(word(name, at, offset, colour));
        }
    }
    let title = match problem {
        Problem::Islands => "the edge of an island".to_string(),
        _ => "the crest of a wave".to_string(),
    };
    let name = problem.name().into();
    Plane { name, title, note, window, numbers: false, ground: score.ground(), dots, curves, squares, words }.figure()
}

/// The result from `x` on a boundary; `None` if the ball of radius `eps` does not hold any of it.
fn adapted(boundary: &[Vec<[f64; 2]>], x: [f64; 2], eps: f64) -> Option<Found> {
    let far = |at: &[f64; 2]| (at[0] - x[0]).abs().max((at[1] - x[1]).abs());
    let instance = *boundary.iter().flatten().min_by(|a, b| far(a).total_cmp(&far(b)))?;
    let radius = far(&instance);
    let inside = |line: &Vec<[f64; 2]>| -> Vec<Vec<[f64; 2]>> {
        line.split(|at| far(at) > eps).filter(|part| part.len() > 1).map(<[_]>::to_vec).collect()
    };
    let pixel: Vec<Vec<[f64; 2]>> = boundary.iter().flat_map(inside).collect();
    let apart = |a: &[f64; 2], b: &[f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    let all: Vec<[f64; 2]> = pixel.iter().flatten().copied().collect();
    let pairs = all.iter().enumerate().flat_map(|(n, a)| all[n + 1..].iter().map(move |b| [*a, *b]));
    let ends = pairs.max_by(|a, b| apart(&a[0], &a[1]).total_cmp(&apart(&b[0], &b[1])))?;
    let ends = if ends[0][0] <= ends[1][0] { ends } else { [ends[1], ends[0]] };
    Some(Found { radius, instance, pixel, ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    // A boundary at y = x / 2 below x = (0, 1): max(|t|, 1 - t / 2) is least at t = 2/3. Within 2
    // it is seen from -2 to 2.
    #[test]
    fn the_smallest_ball_and_the_boundary_within_the_large_one() {
        let slope: Vec<[f64; 2]> = (-300..=300).map(|n| f64::from(n) / 100.0).map(|t| [t, t / 2.0]).collect();
        let found = adapted(&[slope], [0.0, 1.0], 2.0).unwrap();
        assert!((found.radius - 2.0 / 3.0).abs() < 0.01, "{found:?}");
        assert!((found.instance[0] - 2.0 / 3.0).abs() < 0.01, "{found:?}");
        assert_eq!(found.ends, [[-2.0, -1.0], [2.0, 1.0]]);
        assert_eq!(found.pixel.iter().map(Vec::len).sum::<usize>(), 401);
        assert_eq!(adapted(&[vec![[9.0, 9.0], [9.0, 8.0]]], [0.0, 0.0], 1.0), None);
    }
}
