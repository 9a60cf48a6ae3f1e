//! Natural against robust accuracy.

use super::Report;
use super::accuracy::{WORST, robust};
use crate::eval::NATURAL;
use crate::report::chart::{Axis, Figure, Point, Scatter};

pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let settings = report.settings();
    let figure = |setting| {
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
        let what = if attack == WORST {
            "robust accuracy (worst case of all attacks), %".into()
        } else {
            format!("accuracy under {attack}, %")
        };
        Scatter {
            name: format!("tradeoff{}", setting.suffix(&settings)),
            title: setting.to_string(),
            x: Axis::percent("natural accuracy, %"),
            y: Axis::percent(what),
            points: points.collect(),
        }
        .figure()
    };
    settings.iter().filter_map(figure).collect()
}
