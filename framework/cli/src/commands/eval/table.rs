//! Accuracies of several models, as the papers print them.

use crate::report::table::heading;
use crate::report::{Cell, Column, Table};
use foil_runs::eval::Corruptions;
use foil_runs::record::EvalRecord;

/// The last column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Last {
    /// The mean of the row, as in the CAT paper's Tables 2 and 3.
    Avg,
    /// The images that are right under every attack of the evaluation.
    WorstCase,
}

/// Models as rows and attacks as columns.
pub(in crate::commands) fn table(records: &[EvalRecord], last: Last) -> Table {
    let mut names: Vec<&str> = Vec::new();
    for entry in records.iter().flat_map(|record| &record.entries) {
        if !names.contains(&entry.name.as_str()) {
            names.push(&entry.name);
        }
    }
    let mut columns = vec![Column::text("model")];
    columns.extend(names.iter().map(|name| Column::accuracy(heading(name))));
    columns.push(Column::accuracy(if last == Last::Avg { "Avg" } else { "Worst case" }));
    let rows = records.iter().map(|record| {
        let mut row = vec![Cell::Text(record.model.clone())];
        row.extend(
            names.iter().map(|name| record.entry(name).map_or(Cell::Missing, |entry| Cell::Percent(entry.accuracy))),
        );
        let figure = if last == Last::Avg { record.avg } else { record.worst_case };
        row.push(figure.map_or(Cell::Missing, Cell::Percent));
        row
    });
    Table { title: "Accuracy under attack, percent".into(), columns, rows: rows.collect() }
}

/// Corruptions as rows and severities as columns, with the mean of each row.
pub(super) fn by_severity(corruptions: &Corruptions) -> Table {
    let severity = |part: &foil_runs::eval::Part| part.severity.map_or("all".to_string(), |n| n.to_string());
    let severities = foil::distinct(corruptions.parts.iter().map(severity));
    let mut columns = vec![Column::text("corruption")];
    columns.extend(severities.iter().map(|name| Column::accuracy(name.clone())));
    columns.push(Column::accuracy("mean"));
    let rows = corruptions.rows().into_iter().map(|(name, parts)| {
        let cell = |wanted: &String| {
            let found = parts.iter().find(|part| severity(part) == *wanted);
            found.map_or(Cell::Missing, |part| Cell::Percent(part.accuracy))
        };
        let mean = parts.iter().map(|part| part.accuracy).sum::<f64>() / parts.len().max(1) as f64;
        std::iter::once(Cell::Text(name.into()))
            .chain(severities.iter().map(cell))
            .chain([Cell::Percent(mean)])
            .collect()
    });
    Table { title: "Accuracy by corruption and severity, percent".into(), columns, rows: rows.collect() }
}
