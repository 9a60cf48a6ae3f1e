//! Accuracies of several models, as the papers print them.

use crate::report::table::heading;
use crate::report::{Cell, Column, Table};
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
