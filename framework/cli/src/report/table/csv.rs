//! A table for programs.

use super::data::{Cell, Table};
use foil_runs::record::csv::{field, number};

impl Table {
    /// The table as CSV with a line of headings, without the title. Numbers have every digit and no
    /// unit; a column with several runs has a second one beside it, `NAME_std`; what was not
    /// measured is empty.
    pub fn csv(&self) -> String {
        let grid = self.grid();
        let spread = |column: usize| grid.rows.iter().any(|row| matches!(row[column].cell, Cell::MeanStd { .. }));
        let spreads: Vec<bool> = (0..grid.columns.len()).map(spread).collect();
        let mut heads = Vec::new();
        for (column, &spread) in spreads.iter().enumerate() {
            let name = self.columns.get(column).map_or("", |column| &column.name);
            heads.push(field(name).into_owned());
            heads.extend(spread.then(|| field(&format!("{name}_std")).into_owned()));
        }
        let mut out = heads.join(",") + "\n";
        for row in &grid.rows {
            let mut fields = Vec::new();
            for (place, &spread) in row.iter().zip(&spreads) {
                let (value, std) = match place.cell {
                    Cell::Text(text) => (field(text).into_owned(), String::new()),
                    Cell::Percent(value) | Cell::Number(value) => (number(*value), String::new()),
                    Cell::MeanStd { mean, std } => (number(*mean), number(*std)),
                    Cell::Missing => Default::default(),
                };
                fields.push(value);
                fields.extend(spread.then_some(std));
            }
            out += &(fields.join(",") + "\n");
        }
        out
    }
}
