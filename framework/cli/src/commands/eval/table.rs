//! Accuracies of several models, as the papers print them.

use crate::report::table::heading;
use crate::report::{Cell, Column, Table};
use foil::record::EvalRecord;

/// Models as rows and attacks as columns, with the mean of a row as `Avg`, as in the CAT paper's Tables 2 and 3.
pub(in crate::commands) fn table(records: &[EvalRecord]) -> Table {
    let mut names: Vec<&str> = Vec::new();
    for entry in records.iter().flat_map(|record| &record.entries) {
        if !names.contains(&entry.name.as_str()) {
            names.push(&entry.name);
        }
    }
    let mut columns = vec![Column::text("model")];
    columns.extend(names.iter().map(|name| Column::accuracy(heading(name))));
    columns.push(Column::accuracy("Avg"));
    let rows = records.iter().map(|record| {
        let mut row = vec![Cell::Text(record.model.clone())];
        row.extend(
            names.iter().map(|name| record.entry(name).map_or(Cell::Missing, |entry| Cell::Percent(entry.accuracy))),
        );
        row.push(record.avg.map_or(Cell::Missing, Cell::Percent));
        row
    });
    Table { title: "Accuracy under attack, percent".into(), columns, rows: rows.collect() }
}
