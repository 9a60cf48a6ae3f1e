//! Accuracy as an attack gets a larger radius or more steps.

use super::{Report, View, figures as side_by_side};
use crate::report::chart::{Axis, Figure, Lines, Series};
use foil_runs::record::{AttackResult, EvalRecord};
use maud::{Markup, html};
use serde_json::Value;

pub(super) fn section(report: &Report) -> Markup {
    let figures = figures(report);
    if figures.is_empty() {
        return html! {};
    }
    let images: Vec<String> =
        report.views.iter().filter_map(|view| Some(records(view).next()?.n.to_string())).collect();
    let all_the_same = images.windows(2).all(|pair| pair[0] == pair[1]);
    html! {
        p class="soft" {
            "The same attack with one number changed. In a sound evaluation accuracy falls to zero as the radius grows, and hardly changes once there are enough steps. "
            @if let (Some(n), true) = (images.first(), all_the_same) { "On " (n) " test images." }
        }
        (side_by_side(&figures))
    }
}

pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let chart = |key: &str, title: &str, x: Axis| {
        let series = report.views.iter().enumerate().filter_map(|(colour, view)| {
            let points = records(view).map(|record| points(record, key)).find(|points| points.len() > 1)?;
            Some(Series { label: view.label.clone(), colour, points, dots: true, ..Series::default() })
        });
        Lines {
            name: format!("accuracy_by_{key}"),
            title: title.into(),
            x,
            y: Axis::percent(""),
            series: series.collect(),
        }
        .figure()
    };
    let radius = chart("eps", "Accuracy by radius, %", Axis { tight: true, ..Axis::new("eps, in image units") });
    let steps = chart("steps", "Accuracy by steps, %", Axis { log: true, ..Axis::new("steps of the attack") });
    radius.into_iter().chain(steps).collect()
}

/// The measurements made for these curves first, then the evaluations.
fn records(view: &View) -> impl Iterator<Item = &EvalRecord> {
    view.curves.iter().chain(view.group.evals())
}

/// (number, accuracy) of the largest set of entries whose settings differ in the number `key`
/// alone. With radii, the accuracy without an attack is that at 0.
fn points(record: &EvalRecord, key: &str) -> Vec<[f64; 2]> {
    let split = |entry: &AttackResult| {
        let mut settings = entry.attack.as_object()?.clone();
        let number = settings.remove(key)?.as_f64()?;
        // A longer or larger attack may use another step size.
        settings.remove("alpha");
        Some((Value::Object(settings), [number, entry.accuracy]))
    };
    let mut sets: Vec<(Value, Vec<[f64; 2]>)> = Vec::new();
    for (settings, point) in record.entries.iter().filter_map(split) {
        match sets.iter_mut().find(|(known, _)| *known == settings) {
            Some((_, points)) => points.push(point),
            None => sets.push((settings, vec![point])),
        }
    }
    let mut points = sets.into_iter().map(|(_, points)| points).max_by_key(Vec::len).unwrap_or_default();
    if points.len() > 1 && key == "eps" {
        points.extend(record.entries.iter().filter(|entry| entry.attack.is_null()).map(|entry| [0.0, entry.accuracy]));
    }
    points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    points.dedup_by(|a, b| a[0] == b[0]);
    points
}
