//! The tables of the CAT paper that have a run in them: our figures, the published ones, and the
//! difference.

use super::{Report, View};
use crate::report::paper::{Filled, Ours, fill, numbers, table};
use crate::report::{Cell, Table};
use maud::{Markup, html};

pub(super) fn section(report: &Report) -> Markup {
    let ours: Vec<Ours> = report.views.iter().map(ours).collect();
    let tables = numbers().into_iter().filter_map(|number| Some((number, fill(&table(number)?, &ours))));
    let tables: Vec<(u8, Filled)> = tables.filter(|(_, filled)| filled.has_ours).collect();
    if tables.is_empty() {
        return html! {};
    }
    let mut notes: Vec<&String> = tables.iter().flat_map(|(_, filled)| &filled.notes).collect();
    notes.dedup();
    html! {
        p class="soft" {
            "Tables of Huang et al. 2021 (“CAT”) with our figures, the published ones, and the difference, ours minus theirs in points. "
            "A run's settings decide its row, not its name."
        }
        @for (number, filled) in &tables {
            details class="paper" open {
                summary { (filled.table.title) }
                @let (ours, others) = halves(&filled.table);
                (ours.html_in_groups())
                @if !others.rows.is_empty() {
                    details {
                        summary { "Rows of the paper without a run of ours" }
                        (others.html_in_groups())
                    }
                }
                @if !filled.commands.is_empty() {
                    details {
                        summary { "What the empty rows of Table " (number) " take" }
                        pre { @for (row, command) in &filled.commands { (row) ": " (command) "\n" } }
                    }
                }
            }
        }
        @let parts = parts(report, &tables);
        @if !notes.is_empty() || !parts.is_empty() {
            ul class="soft" { @for note in notes { li { (note) } } @for part in &parts { li { (part) } } }
        }
    }
}

/// The rows in which a figure of ours stands, and the others. A method's further rows, which begin
/// with an empty cell, stay with it.
fn halves(table: &Table) -> (Table, Table) {
    let is_more = |row: &Vec<Cell>| row.first() == Some(&Cell::Text(String::new()));
    let has_ours = |group: &&[Vec<Cell>]| {
        group[0].iter().any(|cell| matches!(cell, Cell::Percent(_) | Cell::Number(_) | Cell::MeanStd { .. }))
    };
    let (ours, others): (Vec<_>, Vec<_>) = table.rows.chunk_by(|_, next| is_more(next)).partition(has_ours);
    let of = |title: &str, rows: Vec<&[Vec<Cell>]>| Table {
        title: title.into(),
        columns: table.columns.clone(),
        rows: rows.concat(),
    };
    (of(&table.title, ours), of("", others))
}

fn ours(view: &View) -> Ours<'_> {
    Ours { label: &view.label, runs: view.group.runs.iter().filter(|run| run.eval().is_some()).collect() }
}

/// Notes on the runs in a table, with equal runs in one sentence: how long they trained, and on
/// how many images they were evaluated where the paper used all.
fn parts(report: &Report, tables: &[(u8, Filled)]) -> Vec<String> {
    let used = |label: &String| tables.iter().any(|(_, filled)| !filled.unused.contains(label));
    let mut parts: Vec<(String, Vec<&str>)> = Vec::new();
    for view in report.views.iter().filter(|view| used(&view.label)) {
        let Some(run) = view.group.runs.first() else { continue };
        let trained = format!("trained for {} epochs", run.pipeline.train.epochs);
        for part in [Some(trained), run.evaluated_on_part()].into_iter().flatten() {
            match parts.iter_mut().find(|(known, _)| *known == part) {
                Some((_, labels)) => labels.push(&view.label),
                None => parts.push((part, vec![&view.label])),
            }
        }
    }
    parts.into_iter().map(|(part, labels)| format!("{part}: {}", labels.join(", "))).collect()
}
