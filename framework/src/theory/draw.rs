//! Decision boundaries, as in the CAT paper's Figures 1, 7 and 9.

use super::{Objective, Problem, Trained};
use crate::Result;
use crate::report::chart::{Curve, Dot, Figure, Plane, Square, series};
use crate::report::picture::Image;
use tch::{Kind, Tensor};

/// Points along an edge of the picture.
const GRID: usize = 181;
/// Training points that are shown after the attack.
const SHOWN: i64 = 260;

/// Both networks of a problem side by side: what each answers where, with the oracle's boundary, its own, and the points
/// that it is trained on with the class that is asked for there.
///
/// # Errors
/// What the attacks report.
pub fn figure(problem: Problem, trained: &mut [(Objective, Trained)]) -> Result<Figure> {
    let panels = trained.iter_mut().map(|(objective, trained)| panel(problem, *objective, trained));
    let panels: Vec<Figure> = panels.collect::<Result<_>>()?;
    Ok(Figure::beside(&format!("theory_{}", problem.name()), &panels))
}

fn panel(problem: Problem, objective: Objective, trained: &mut Trained) -> Result<Figure> {
    let points = grid();
    let score = values(&trained.score(&points));
    let oracle = values(&problem.level(&points));
    let (attacked, asked) = trained.attacked(SHOWN)?;
    let at = pairs(&attacked);
    let truth: Vec<i64> = Vec::try_from(problem.oracle(&attacked))?;
    let asked: Vec<i64> = Vec::try_from(asked)?;
    // A point is hollow where another class is asked for than the oracle's.
    let dots = at.iter().zip(asked.iter().zip(&truth));
    let mut dots: Vec<Dot> = dots
        .map(|(&at, (&asked, &truth))| Dot { at, colour: usize::from(asked == 1), hollow: asked != truth })
        .collect();
    dots.sort_by_key(|dot| dot.hollow);
    let wrong = dots.iter().filter(|dot| dot.hollow).count();
    let squares = balls(problem, trained);
    Ok(Plane {
        name: format!("{}_{}", problem.name(), objective.name()),
        title: format!("{}, trained by {}", problem.about(), objective.name()),
        note: match wrong {
            0 => "every point is asked for the oracle's class".into(),
            _ => format!("{wrong} of {} points (rings) are asked for the other class than the oracle's", dots.len()),
        },
        range: [0.0, 1.0],
        ground: Some(ground(&score)),
        dots,
        curves: vec![
            Curve { label: "oracle".into(), colour: "var(--ink)".into(), dashed: false, pieces: contour(&oracle) },
            Curve { label: "the network".into(), colour: series(2), dashed: false, pieces: contour(&score) },
        ],
        squares,
    }
    .figure())
}

/// The picture's points from the lower left, row by row: `[GRID * GRID, 2]`.
fn grid() -> Tensor {
    let line = Tensor::linspace(0.0, 1.0, GRID as i64, (Kind::Float, tch::Device::Cpu));
    let axes = Tensor::meshgrid_indexing(&[&line, &line], "xy");
    Tensor::stack(&[&axes[0], &axes[1]], -1).view([-1, 2])
}

fn values(tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0f32; tensor.numel()];
    tensor.to_kind(Kind::Float).contiguous().view(-1).copy_data(&mut values, tensor.numel());
    values
}

fn pairs(points: &Tensor) -> Vec<[f64; 2]> {
    values(points).chunks(2).map(|point| [f64::from(point[0]), f64::from(point[1])]).collect()
}

/// Three balls that reach over the boundary, where there are such.
fn balls(problem: Problem, trained: &Trained) -> Vec<Square> {
    let points = &trained.points;
    let own = problem.oracle(points);
    let crosses = problem.ball(4).fold(own.zeros_like().to_kind(Kind::Bool), |crosses, offset| {
        crosses.logical_or(&problem.oracle(&(points + offset).clamp(0.0, 1.0)).ne_tensor(&own))
    });
    let inside = (points - 0.5).abs().amax([1i64].as_slice(), false).lt(0.4);
    let chosen = crosses.logical_and(&inside).nonzero().squeeze_dim(1);
    let chosen = points.index_select(0, &chosen);
    let classes = values(&problem.oracle(&chosen));
    let found = pairs(&chosen).into_iter().zip(classes);
    found
        .step_by(37)
        .take(3)
        .map(|(at, class)| Square { at, radius: problem.eps(), colour: usize::from(class > 0.5) })
        .collect()
}

/// Light colours of the two classes, stronger where the network is surer. The image's first row is the top.
fn ground(score: &[f32]) -> Image {
    let tint = |class: usize| [[0.80, 0.89, 0.97], [0.99, 0.87, 0.79]][class];
    let mut pixels = vec![1f32; 3 * GRID * GRID];
    for (place, score) in score.iter().enumerate() {
        let (row, column) = (GRID - 1 - place / GRID, place % GRID);
        let sure = (score.abs() / 3.0).min(1.0) * 0.75 + 0.25;
        for (channel, value) in tint(usize::from(*score > 0.0)).into_iter().enumerate() {
            pixels[channel * GRID * GRID + row * GRID + column] = 1.0 - (1.0 - value) * sure;
        }
    }
    Image::new(3, GRID, GRID, pixels).unwrap_or_else(|_| unreachable!("three channels of a full grid"))
}

/// Where numbers on the grid change sign, by marching squares: a line within each cell that the change passes through.
fn contour(values: &[f32]) -> Vec<Vec<[f64; 2]>> {
    let at = |column: usize, row: usize| values[row * GRID + column];
    let cell = 1.0 / (GRID - 1) as f64;
    let mut pieces = Vec::new();
    for (row, column) in (0..GRID - 1).flat_map(|row| (0..GRID - 1).map(move |column| (row, column))) {
        let corners = [(0, 0), (1, 0), (1, 1), (0, 1)];
        let crossing = |side: usize| {
            let ((x0, y0), (x1, y1)) = (corners[side], corners[(side + 1) % 4]);
            let (from, to) = (at(column + x0, row + y0), at(column + x1, row + y1));
            if (from > 0.0) == (to > 0.0) {
                return None;
            }
            let share = f64::from(from / (from - to));
            let along = |a: usize, b: usize| a as f64 + share * (b as f64 - a as f64);
            Some([(column as f64 + along(x0, x1)) * cell, (row as f64 + along(y0, y1)) * cell])
        };
        let ends: Vec<[f64; 2]> = (0..4).filter_map(crossing).collect();
        pieces.extend(ends.chunks_exact(2).map(<[_]>::to_vec));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_as_long_as_a_circle() {
        let circle: Vec<f32> = pairs(&grid()).iter().map(|[x, y]| (0.3 - (x - 0.5).hypot(y - 0.5)) as f32).collect();
        let length: f64 =
            contour(&circle).iter().map(|line| (line[0][0] - line[1][0]).hypot(line[0][1] - line[1][1])).sum();
        assert!((length - 0.3 * std::f64::consts::TAU).abs() < 1e-3, "{length}");
    }
}
