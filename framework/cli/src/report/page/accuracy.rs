//! The tables: accuracy under each attack.

use super::view::Setting;
use super::{Report, View, trust};
use crate::report::table::heading;
use crate::report::{Cell, Column, Spread, Table};
use foil::distinct;
use foil_runs::eval::NATURAL;
use maud::{Markup, html};

/// The label of the worst case.
pub(super) const WORST: &str = "worst case";

pub(super) fn section(report: &Report) -> Markup {
    let settings = report.settings();
    if settings.is_empty() {
        return html! { p { "None of these runs is evaluated yet: " code { "foil eval RUN" } "." } };
    }
    html! {
        @for setting in &settings { (table(report, setting).html()) }
        p class="soft" {
            "Percent of test images classified correctly; the highest in each column is bold. "
            @if settings.iter().any(|setting| report.within(setting).iter().any(|(_, view)| view.worst_case(setting).is_some())) {
                "“" (WORST) "” counts an image only if it is classified correctly under every attack of the evaluation. "
            }
            @if report.views.iter().any(|view| view.group.runs.len() > 1) { "± is the standard deviation over seeds." }
        }
    }
}

/// Methods as rows and attacks as columns.
pub(super) fn table(report: &Report, setting: &Setting) -> Table {
    let views = report.within(setting);
    let names = attacks(report, setting);
    let worst = views.iter().any(|(_, view)| view.worst_case(setting).is_some());
    let seeds = views.iter().any(|(_, view)| view.group.runs.len() > 1);
    let mut columns = vec![Column::text("method")];
    columns.extend(seeds.then(|| Column { decimals: 0, ..Column::number("seeds") }));
    columns.extend(names.iter().map(|name| Column::accuracy(heading(name))));
    columns.extend(worst.then(|| Column::accuracy(WORST)));
    let red = views.iter().any(|(_, view)| trust::failures(view).0 > 0);
    columns.extend(red.then(|| Column::text("trust")));
    let cell = |spread: Option<Spread>| spread.map_or(Cell::Missing, Spread::cell);
    let rows = views.iter().map(|(_, view)| {
        let mut row = vec![Cell::Text(view.label.clone())];
        row.extend(seeds.then_some(Cell::Number(view.group.runs.len() as f64)));
        row.extend(names.iter().map(|name| cell(view.accuracy(setting, name))));
        row.extend(worst.then(|| cell(view.worst_case(setting))));
        row.extend(red.then(|| Cell::Text(trusted(view))));
        row
    });
    Table { title: setting.to_string(), columns, rows: rows.collect() }
}

/// Whether a method's figures can be believed, in a word or two.
fn trusted(view: &View) -> String {
    match trust::failures(view) {
        (0, _) => "✓".into(),
        (n, _) if view.group.runs.len() == 1 => format!("✗ {n} failed"),
        (n, seeds) => format!("✗ {n} failed ({seeds} of {} seeds)", view.group.runs.len()),
    }
}

/// The attacks of the evaluations in a setting, in the order in which they first occur.
pub(super) fn attacks(report: &Report, setting: &Setting) -> Vec<String> {
    let evals = report.views.iter().flat_map(|view| view.group.evals()).filter(|eval| Setting::of(eval) == *setting);
    distinct(evals.flat_map(|eval| &eval.entries).map(|entry| entry.name.clone()))
}

/// The measure by which methods in a setting are compared: the worst case if all have it,
/// otherwise the strongest shared attack. `None` if they share no attack.
pub(super) fn robust(report: &Report, setting: &Setting) -> Option<String> {
    let views = report.within(setting);
    if views.iter().all(|(_, view)| view.worst_case(setting).is_some()) {
        return Some(WORST.into());
    }
    let mean = |name: &String| -> Option<f64> {
        views.iter().map(|(_, view)| view.accuracy(setting, name).map(|spread| spread.mean)).sum()
    };
    let shared = attacks(report, setting).into_iter().filter(|name| name != NATURAL);
    let means = shared.filter_map(|name| mean(&name).map(|mean| (name, mean)));
    means.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| name)
}
