//! Natural against robust accuracy.

use super::Report;
use super::accuracy::{WORST, robust};
use super::view::Setting;
use crate::report::chart::{Axis, Figure, Point, Scatter};
use foil_runs::eval::NATURAL;

pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let settings = report.settings();
    let charts = settings.iter().flat_map(|setting| {
        let Some(all) = chart(report, setting) else { return Vec::new() };
        let all = Scatter { name: format!("tradeoff{}", setting.suffix(&settings)), ..all };
        let close = close_up(&all);
        [Some(all), close].into_iter().flatten().collect()
    });
    charts.filter_map(|chart| chart.figure()).collect()
}

fn chart(report: &Report, setting: &Setting) -> Option<Scatter> {
    let attack = robust(report, setting)?;
    let points = report.within(setting).into_iter().filter_map(|(colour, view)| {
        let natural = view.accuracy(setting, NATURAL)?;
        let robust = if attack == WORST { view.worst_case(setting) } else { view.accuracy(setting, &attack) }?;
        Some(Point {
            label: view.label.clone(),
            colour,
            at: [natural.mean, robust.mean],
            std: [natural.std.unwrap_or(0.0), robust.std.unwrap_or(0.0)],
        })
    });
    let what = match attack.as_str() {
        WORST => "robust accuracy (worst case of all attacks), %".into(),
        attack => format!("accuracy under {attack}, %"),
    };
    Some(Scatter {
        name: String::new(),
        title: setting.to_string(),
        x: Axis::percent("natural accuracy, %"),
        y: Axis::percent(what),
        points: points.collect(),
    })
}

/// The chart without the methods that are not robust at all, next to which the others are
/// indistinguishable; `None` if all are robust.
fn close_up(all: &Scatter) -> Option<Scatter> {
    let best = all.points.iter().map(|point| point.at[1]).fold(0.0, f64::max);
    let (near, far): (Vec<Point>, Vec<Point>) = all.points.iter().cloned().partition(|point| point.at[1] > 0.5 * best);
    if far.is_empty() || near.len() < 2 {
        return None;
    }
    let left_out: Vec<&str> = far.iter().map(|point| point.label.as_str()).collect();
    let title = format!("The same without {}", left_out.join(", "));
    Some(Scatter { name: format!("{}_near", all.name), title, points: near, ..all.clone() })
}
