//! Figures 2 to 6 of the CAT paper, from runs.
//!
//! | figure | x-axis | y-axis | curves |
//! |---|---|---|---|
//! | 2 | test images | natural, adversarial, mask, calibrated adversarial | - |
//! | 3 | eps of training | (a) PGD-100 without random start, (b) natural + that | methods |
//! | 4 | epochs | (a) natural, (b) natural + PGD-10 | A1, A2, CAT by beta1 |
//! | 5 | epochs | PGD-10, a panel for each beta1 | what X' ascends |
//! | 6 | beta1 | these three, a panel for each objective | natural - 80, PGD-20 - 50, their sum |
//!
//! PGD-10 has a random start, PGD-20 has none. 80 and 50 are the paper's for CIFAR-10; see
//! `beta1.rs` for other data.

mod beta1;
mod epochs;
mod masks;
mod radius;
mod traits;

pub use masks::masks;

use super::Group;
use super::chart::{Figure, Series};
use crate::report::Spread;
use foil::distinct;
use foil::{Error, Result};

/// The figure with this number, its panels side by side.
///
/// # Errors
/// When the runs have nothing that the figure shows, or were not trained and evaluated alike.
pub fn draw(number: u8, groups: &[Group]) -> Result<Figure> {
    let runs = groups.iter().flat_map(|group| &group.runs);
    let data = distinct(runs.map(|run| foil_runs::data::name(&run.pipeline)));
    if let [first, second, ..] = &data[..] {
        return Err(Error::new(format!("one figure cannot show different data sets: {first} and {second}"))
            .help("name the runs of one"));
    }
    let panels = match number {
        3 => radius::panels(groups)?,
        4 => epochs::ablations(groups),
        5 => epochs::objectives(groups),
        _ => beta1::panels(groups, data.first().map(String::as_str).unwrap_or_default())?,
    };
    if panels.is_empty() {
        let what = match number {
            3 => "evaluated runs, natural and under PGD with 100 steps and `start: none`",
            6 => "evaluated runs of CAT, natural and under PGD with 20 steps and `start: none`",
            4 => "runs with finished epochs that measure `natural` and PGD with 10 steps and `start: uniform`",
            _ => "runs of CAT with finished epochs that measure `natural` and PGD with 10 steps and `start: uniform`",
        };
        let message = format!("these runs have nothing that Figure {number} shows: it needs {what}");
        return Err(Error::new(message).help("foil figure --help lists the pipelines of each figure"));
    }
    Ok(Figure::beside(&format!("figure{number}"), &panels))
}

/// `a`, `b` … of a panel.
fn letter(n: usize) -> char {
    char::from(b'a' + (n % 26) as u8)
}

/// Puts a point, and its deviation over seeds, on the curve called `label`.
fn add(series: &mut Vec<Series>, label: &str, x: f64, y: Spread) {
    let place = series.iter().position(|one| one.label == label).unwrap_or_else(|| {
        series.push(Series { label: label.into(), colour: series.len(), dots: true, ..Series::default() });
        series.len() - 1
    });
    let std = y.std.unwrap_or(0.0);
    series[place].points.push([x, y.mean]);
    series[place].spread.push([y.mean - std, y.mean + std]);
}

/// Sorts points from left to right; drops deviations if there is only one seed.
fn sort(one: &mut Series) {
    let mut order: Vec<usize> = (0..one.points.len()).collect();
    order.sort_by(|&a, &b| one.points[a][0].total_cmp(&one.points[b][0]));
    one.points = order.iter().map(|&i| one.points[i]).collect();
    one.spread = order.iter().map(|&i| one.spread[i]).collect();
    if one.spread.iter().all(|[low, high]| low == high) {
        one.spread.clear();
    }
}
