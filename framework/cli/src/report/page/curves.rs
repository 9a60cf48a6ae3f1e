//! Training metrics by epoch.

use super::{Report, View, figures as side_by_side};
use crate::report::chart::{Axis, Figure, Lines, Series};
use crate::report::paper::{PaperLog, logs};
use foil::distinct;
use maud::{Markup, html};

/// How many figures are shown; the others are collapsed.
const OPEN: usize = 4;

pub(super) fn section(report: &Report) -> Markup {
    let figures = figures(report);
    let (first, rest) = figures.split_at(figures.len().min(OPEN));
    if first.is_empty() {
        return html! {};
    }
    html! {
        p class="soft" {
            "A ring marks the epoch that was selected. "
            @if report.views.iter().any(|view| view.group.runs.len() > 1) { "Lines are means over seeds, with the range around them. " }
            @for log in published(report) { "Dashed: " (log.recipe) ". " }
            span class="needs-script" { "Drag across a chart to zoom, double-click to go back." }
        }
        (side_by_side(first))
        @if !rest.is_empty() {
            details { summary { "Losses, rates and training accuracies (" (rest.len()) ")" } (side_by_side(rest)) }
        }
    }
}

pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let rows = report.views.iter().flat_map(|view| &view.group.runs).flat_map(|run| &run.metrics);
    let mut names: Vec<&str> = distinct(rows.flat_map(|row| row.values.keys().map(String::as_str)));
    names.sort_by_key(|name| rank(name));
    let (published, last) = (published(report), last_epoch(report));
    let figure = |name: &&str| {
        let series = report.views.iter().enumerate().filter_map(|(colour, view)| series(view, colour, name));
        let theirs = published.iter().filter_map(|log| {
            let points = log.points(name, last);
            let label = log.label.clone();
            let series =
                Series { label, colour: report.views.len(), points, dots: true, dashed: true, ..Series::default() };
            (!series.points.is_empty()).then_some(series)
        });
        Lines {
            name: format!("training_{name}"),
            title: title(name),
            x: Axis { whole: true, tight: true, ..Axis::new("epoch") },
            y: if is_accuracy(name) { Axis::percent("") } else { Axis::default() },
            series: series.chain(theirs).collect(),
        }
        .figure()
    };
    names.iter().filter_map(figure).collect()
}

/// Published logs of runs like these, each once.
fn published(report: &Report) -> Vec<PaperLog> {
    distinct(report.views.iter().flat_map(|view| &view.group.runs).flat_map(|run| logs(&run.pipeline)))
}

/// Where charts over epochs end.
fn last_epoch(report: &Report) -> u64 {
    let rows = report.views.iter().flat_map(|view| &view.group.runs).flat_map(|run| &run.metrics);
    rows.map(|row| row.epoch).max().unwrap_or(0)
}

/// One method's curve: the mean over its seeds at each epoch.
fn series(view: &View, colour: usize, name: &str) -> Option<Series> {
    let (points, spread) = view.group.over_epochs(|row| row.values.get(name).copied());
    if points.is_empty() {
        return None;
    }
    // With several seeds each has its own epoch, so the mean has none.
    let best = view.group.runs.first().and_then(|run| run.best.as_ref()).filter(|_| view.group.runs.len() == 1);
    let marks =
        best.and_then(|best| points.iter().find(|point| point[0] == best.epoch as f64).copied()).into_iter().collect();
    Some(Series { label: view.label.clone(), colour, points, spread, marks, ..Series::default() })
}

/// Accuracies on the evaluated images first, then the loss, then the rest.
fn rank(name: &str) -> u8 {
    match name {
        "natural" => 0,
        "train_loss" => 2,
        "lr" => 5,
        _ if !name.starts_with("train_") => 1,
        _ if is_accuracy(name) => 3,
        _ => 4,
    }
}

fn is_accuracy(name: &str) -> bool {
    name != "lr" && (!name.starts_with("train_") || name.ends_with("_acc"))
}

fn title(name: &str) -> String {
    match name.strip_prefix("train_") {
        None if name == "lr" => "Learning rate".into(),
        None if name == "natural" => "Natural accuracy, %".into(),
        None => format!("Accuracy under {name}, %"),
        Some("loss") => "Training loss".into(),
        Some(rest) => match rest.strip_suffix("_acc") {
            Some(which) => format!("Training accuracy, {which} images, %"),
            None => format!("Training loss: {rest}"),
        },
    }
}
