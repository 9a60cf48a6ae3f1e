//! A score on a grid over a part of the plane: the colours of its classes, and its boundary.

use crate::report::picture::Image;
use crate::theory::Oracle;
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// Points along an edge of the picture.
const GRID: usize = 181;

/// The ends of both axes, `[[left, right], [bottom, top]]`.
pub(super) type Window = [[f64; 2]; 2];

/// The unit square.
pub(super) const SQUARE: Window = [[0.0, 1.0], [0.0, 1.0]];

/// A score's values on a grid over a window, from the lower left, row by row.
#[derive(Debug)]
pub(super) struct Map {
    window: Window,
    values: Vec<f32>,
}

impl Map {
    /// The map of `score`, which takes points `[n, 2]` to `[n]`.
    pub fn new(window: Window, score: &dyn Fn(&Tensor) -> Tensor) -> Map {
        let line = |[from, to]: [f64; 2]| Tensor::linspace(from, to, GRID as i64, (Kind::Float, tch::Device::Cpu));
        let axes = Tensor::meshgrid_indexing(&[&line(window[0]), &line(window[1])], "xy");
        let points = Tensor::stack(&[&axes[0], &axes[1]], -1).view([-1, 2]);
        Map { window, values: numbers(&score(&points)) }
    }

    /// The map of the oracle's answers, for its boundary and the colours of the true classes.
    pub fn of_oracle(window: Window, oracle: Oracle) -> Map {
        Map::new(window, &|points| oracle.level(points) * 100.0)
    }

    fn value(&self, column: usize, row: usize) -> f32 {
        self.values[row * GRID + column]
    }

    /// The place of a grid point; columns and rows may be broken.
    fn place(&self, column: f64, row: f64) -> [f64; 2] {
        let along = |[from, to]: [f64; 2], share: f64| from + (to - from) * share / (GRID - 1) as f64;
        [along(self.window[0], column), along(self.window[1], row)]
    }

    /// The score at a place, linear between the grid's points.
    pub fn at(&self, point: [f64; 2]) -> f64 {
        let share = |[from, to]: [f64; 2], value: f64| {
            ((value - from) / (to - from) * (GRID - 1) as f64).clamp(0.0, (GRID - 1) as f64)
        };
        let (x, y) = (share(self.window[0], point[0]), share(self.window[1], point[1]));
        let (column, row) = ((x as usize).min(GRID - 2), (y as usize).min(GRID - 2));
        let (x, y) = (x - column as f64, y - row as f64);
        let value = |right: usize, up: usize| f64::from(self.value(column + right, row + up));
        (1.0 - y) * ((1.0 - x) * value(0, 0) + x * value(1, 0)) + y * ((1.0 - x) * value(0, 1) + x * value(1, 1))
    }

    /// Light colours of the two classes, stronger where the score is larger. The image's first row
    /// is the top.
    pub fn ground(&self) -> Image {
        let tint = |second: bool| if second { [0.99, 0.87, 0.79] } else { [0.80, 0.89, 0.97] };
        let mut pixels = vec![1f32; 3 * GRID * GRID];
        for (place, score) in self.values.iter().enumerate() {
            let (row, column) = (GRID - 1 - place / GRID, place % GRID);
            let sure = (score.abs() / 3.0).min(1.0) * 0.75 + 0.25;
            for (channel, value) in tint(*score > 0.0).into_iter().enumerate() {
                pixels[channel * GRID * GRID + row * GRID + column] = 1.0 - (1.0 - value) * sure;
            }
        }
        Image::new(3, GRID, GRID, pixels).unwrap_or_else(|_| unreachable!("three channels of a full grid"))
    }

    /// Where the score changes sign, by marching squares, joined into lines.
    pub fn boundary(&self) -> Vec<Vec<[f64; 2]>> {
        let mut pieces = Vec::new();
        for (row, column) in (0..GRID - 1).flat_map(|row| (0..GRID - 1).map(move |column| (row, column))) {
            let corners = [(0, 0), (1, 0), (1, 1), (0, 1)];
            let crossing = |side: usize| {
                let ((x0, y0), (x1, y1)) = (corners[side], corners[(side + 1) % 4]);
                let (from, to) = (self.value(column + x0, row + y0), self.value(column + x1, row + y1));
                if (from > 0.0) == (to > 0.0) {
                    return None;
                }
                let share = f64::from(from / (from - to));
                let along = |a: usize, b: usize| a as f64 + share * (b as f64 - a as f64);
                Some(self.place(column as f64 + along(x0, x1), row as f64 + along(y0, y1)))
            };
            let ends: Vec<[f64; 2]> = (0..4).filter_map(crossing).collect();
            pieces.extend(ends.chunks_exact(2).map(|ends| [ends[0], ends[1]]));
        }
        joined(&pieces)
    }
}

/// Short pieces as long lines, so that dashes do not start again with each of them.
fn joined(pieces: &[[[f64; 2]; 2]]) -> Vec<Vec<[f64; 2]>> {
    // Neighbouring cells find the same crossing up to rounding.
    let key = |at: [f64; 2]| at.map(|value| (value * 1e6).round() as i64);
    let mut touching: HashMap<[i64; 2], Vec<usize>> = HashMap::new();
    for (n, piece) in pieces.iter().enumerate() {
        piece.iter().for_each(|end| touching.entry(key(*end)).or_default().push(n));
    }
    let mut used = vec![false; pieces.len()];
    let mut lines = Vec::new();
    for first in 0..pieces.len() {
        if used[first] {
            continue;
        }
        used[first] = true;
        let mut line = pieces[first].to_vec();
        for _ in 0..2 {
            line.reverse();
            while let Some(next) = line.last().and_then(|end| touching[&key(*end)].iter().find(|&&n| !used[n])) {
                used[*next] = true;
                let [a, b] = pieces[*next];
                let forward = line.last().is_some_and(|end| key(*end) == key(a));
                line.push(if forward { b } else { a });
            }
        }
        lines.push(line);
    }
    lines
}

pub(super) fn numbers(tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0f32; tensor.numel()];
    tensor.to_kind(Kind::Float).contiguous().view(-1).copy_data(&mut values, tensor.numel());
    values
}

/// Points `[n, 2]` as pairs.
pub(super) fn pairs(points: &Tensor) -> Vec<[f64; 2]> {
    numbers(points).chunks(2).map(|point| [f64::from(point[0]), f64::from(point[1])]).collect()
}

/// Pairs as points `[n, 2]`.
pub(super) fn points(pairs: &[[f64; 2]]) -> Tensor {
    let flat: Vec<f32> = pairs.iter().flatten().map(|value| *value as f32).collect();
    Tensor::from_slice(&flat).view([-1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(points: &Tensor) -> Tensor {
        0.3 - (points - 0.5).square().sum_dim_intlist([-1i64].as_slice(), false, Kind::Float).sqrt()
    }

    #[test]
    fn a_circle_is_one_line_as_long_as_a_circle() {
        let map = Map::new(SQUARE, &circle);
        let lines = map.boundary();
        assert_eq!(lines.len(), 1);
        let way = |ends: &[[f64; 2]]| (ends[0][0] - ends[1][0]).hypot(ends[0][1] - ends[1][1]);
        let length: f64 = lines[0].windows(2).map(way).sum();
        assert!((length - 0.3 * std::f64::consts::TAU).abs() < 2e-3, "{length}");
        let within = |at: [f64; 2]| (map.at(at) - (0.3 - (at[0] - 0.5).hypot(at[1] - 0.5))).abs() < 1e-3;
        assert!(within([0.2, 0.31]) && within([0.999, 0.5]) && within([1.0, 1.0]));
    }

    #[test]
    fn pairs_and_points_are_the_same() {
        let given = [[0.25, 0.5], [1.0, 0.0]];
        assert_eq!(pairs(&points(&given)), given);
    }
}
