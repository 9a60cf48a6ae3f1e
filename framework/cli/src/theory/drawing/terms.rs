//! Where the inner maximum lies, in the two terms of Eq. 4: Figure 1, and each problem's three
//! networks.

use super::Networks;
use super::colours::{boundaries, class, dot, grey, hatching, key, line, network, oracle, word};
use super::map::{Map, SQUARE, Window, pairs, points};
use crate::report::chart::{Curve, Dot, Figure, Heading, Key, Plane, Sign, Square, hatch};
use crate::theory::{Objective, Problem, Trained};
use foil::Result;
use tch::Kind;

/// Training points that are shown after the inner maximum.
const SHOWN: i64 = 260;
/// Figure 1's part of the square, and its points X, of which the last has a ball that is not
/// crossed.
const WINDOW: Window = [[0.0, 0.6], [0.2, 0.8]];
const CHOSEN: [[f64; 2]; 5] = [[0.10, 0.545], [0.25, 0.415], [0.417, 0.585], [0.51, 0.385], [0.25, 0.69]];

/// A problem's networks side by side: each one's predictions, both boundaries, and the points X'
/// that it is trained on now, as rings where the oracle gives X' another class than Y.
///
/// # Errors What the attacks report.
pub fn of_problem(networks: &mut Networks) -> Result<Figure> {
    let problem = networks.problem;
    let panels = networks.trained.iter_mut().map(|(objective, trained)| {
        let shown = trained.task.points.narrow(0, 0, SHOWN.min(trained.task.points.size()[0]));
        let (dots, in_b) = found(trained, &shown)?;
        let note = format!("{in_b} of {} points X' are in (b)", dots.len());
        let plane = panel(problem, trained, SQUARE, format!("trained by {}", objective.name()), note);
        Ok(Plane { numbers: true, dots, ..plane }.figure())
    });
    let panels = Figure::beside("panels", &panels.collect::<Result<Vec<_>>>()?);
    let keys = boundaries().into_iter().chain(found_keys()).collect();
    let notes =
        vec![format!("ε = {} within Linf. Points are where the inner maximum is, in the colour of Y.", problem.eps())];
    let title = format!("{}: {}", problem.name(), problem.about());
    let heading = Heading { title, notes, keys, width: panels.width }.figure();
    Ok(Figure::below(&format!("theory_{}", problem.name()), &[heading, panels]))
}

/// Eq. 4's two terms in single balls, as Eq. 1 and Eq. 7 use them. The text of the paper's Figure
/// 1 was not available; this draws what Eq. 4 says.
///
/// # Errors What the attacks report.
pub fn figure_1(networks: &mut Networks) -> Result<Figure> {
    let problem = networks.problem;
    let chosen = points(&CHOSEN);
    let panels = networks.trained.iter_mut().filter(|(objective, _)| *objective != Objective::Eq17);
    let panels = panels.map(|(objective, trained)| {
        let (mut dots, in_b) = found(trained, &chosen)?;
        let ends = dots.iter().map(|dot| dot.at).collect::<Vec<_>>();
        dots.iter_mut().for_each(|dot| dot.radius = 4.2);
        let second: Vec<i64> = Vec::try_from(problem.oracle().label(&chosen))?;
        let colours: Vec<String> = second.iter().map(|&label| class(label == 1)).collect();
        let ways = CHOSEN.iter().zip(&ends).map(|(from, to)| vec![*from, *to]).collect();
        let title = match objective {
            Objective::Eq7 => "trained by Eq. 7: the maximum is over (a) only".to_string(),
            _ => format!("trained by {}: the maximum is over (a) and (b)", objective.name()),
        };
        let note = format!("{in_b} of {} points X' are in (b), where Y is the wrong label", CHOSEN.len());
        let mut plane = panel(problem, trained, WINDOW, title, note);
        plane.curves.insert(0, hatching(grey(), term_b(problem)));
        plane.curves.push(Curve { colour: "var(--ink)".into(), width: 1.0, dashed: true, pieces: ways });
        let squares = CHOSEN.iter().zip(&colours);
        plane.squares = squares
            .map(|(&at, colour)| Square { at, radius: problem.eps(), colour: colour.clone(), dashed: false })
            .collect();
        dots.extend(
            CHOSEN.iter().zip(&colours).map(|(&at, colour)| Dot { radius: 3.2, ..dot(at, colour.clone(), false) }),
        );
        plane.dots = dots;
        let beside = |n: usize| word("X", CHOSEN[n], [7.0, 4.0], colours[n].clone());
        plane.words = (0..CHOSEN.len()).map(beside).collect();
        Ok(plane.figure())
    });
    let panels = Figure::beside("panels", &panels.collect::<Result<Vec<_>>>()?);
    let hatched = key("(b): X' in B(X, ε) with f_{oracle}(X') ≠ Y", grey(), Sign::Rising);
    let ball = key("B(X, ε), in the colour of Y", class(true), Sign::Square);
    let keys = boundaries().into_iter().chain([ball, hatched]).chain(found_keys()).collect();
    let title =
        "Figure 1, from Eq. 4: a ball's parts (a), where the oracle says Y, and (b), where it does not".to_string();
    let notes = vec!["The text of the paper's Figure 1 was not available; this shows what Eq. 4 says. Dashes lead from X to the maximum X'.".to_string()];
    let heading = Heading { title, notes, keys, width: panels.width }.figure();
    Ok(Figure::below("theory_figure1", &[heading, panels]))
}

/// A network's predictions and both boundaries.
fn panel(problem: Problem, trained: &Trained, window: Window, title: String, note: String) -> Plane {
    let score = Map::new(window, &|points| trained.score(points));
    let truth = Map::of_oracle(window, problem.oracle());
    Plane {
        name: problem.name().into(),
        title,
        note,
        window,
        numbers: false,
        ground: score.ground(),
        dots: Vec::new(),
        curves: vec![line(oracle(), truth.boundary()), line(network(), score.boundary())],
        squares: Vec::new(),
        words: Vec::new(),
    }
}

/// The inner maximum for points X `[n, 2]`, as rings where it is in (b), and how many are.
fn found(trained: &mut Trained, x: &tch::Tensor) -> Result<(Vec<Dot>, usize)> {
    let attacked = trained.attacked(x)?;
    let y: Vec<i64> = Vec::try_from(trained.task.oracle.label(x).to_kind(Kind::Int64))?;
    let there: Vec<i64> = Vec::try_from(trained.task.oracle.label(&attacked))?;
    let ends = pairs(&attacked).into_iter().zip(y.iter().zip(&there));
    let dots: Vec<Dot> = ends.map(|(at, (y, there))| dot(at, class(*y == 1), y != there)).collect();
    let in_b = dots.iter().filter(|dot| dot.hollow).count();
    Ok((dots, in_b))
}

fn found_keys() -> [Key; 4] {
    [
        key("X' in (a), Y = class 1", class(false), Sign::Dot),
        key("X' in (b), Y = class 1", class(false), Sign::Ring),
        key("X' in (a), Y = class 2", class(true), Sign::Dot),
        key("X' in (b), Y = class 2", class(true), Sign::Ring),
    ]
}

/// Lines through part (b) of each chosen ball.
fn term_b(problem: Problem) -> Vec<Vec<[f64; 2]>> {
    let truth = Map::of_oracle(WINDOW, problem.oracle());
    let balls = CHOSEN.iter().flat_map(|x| {
        let within = |at: [f64; 2]| (at[0] - x[0]).abs().max((at[1] - x[1]).abs()) < problem.eps();
        hatch(WINDOW, 0.011, true, &|at| within(at) && (truth.at(at) > 0.0) != (truth.at(*x) > 0.0))
    });
    balls.collect()
}
