//! A table, independent of its output format.

/// Rows under named columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// What the table shows; the caption in LaTeX. May be empty.
    pub title: String,
    /// The columns, from left to right.
    pub columns: Vec<Column>,
    /// The rows, from the top. A row that is too short ends in [`Cell::Missing`]; one that is too
    /// long gets columns without a name.
    pub rows: Vec<Vec<Cell>>,
}

/// The properties of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The heading. Accuracies get their unit here: `natural (%)`.
    pub name: String,
    /// The alignment of its cells.
    pub align: Align,
    /// Whether the highest or the lowest number is the best one, which is put in bold. `None` if
    /// no number is better than another.
    pub higher_is_better: Option<bool>,
    /// Digits after the point.
    pub decimals: usize,
}

/// The alignment of text in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Align {
    /// At the left, for words.
    #[default]
    Left,
    /// At the right, for numbers.
    Right,
}

/// One entry of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A share, in percent: `Percent(84.2)`.
    Percent(f64),
    /// Any other number.
    Number(f64),
    /// Several runs.
    MeanStd {
        /// Their mean.
        mean: f64,
        /// Their standard deviation, in the same unit.
        std: f64,
    },
    /// Not measured.
    Missing,
}

impl Column {
    /// A column of words.
    pub fn text(name: impl Into<String>) -> Self {
        Column { name: name.into(), align: Align::Left, higher_is_better: None, decimals: 2 }
    }

    /// A column of numbers with two decimals, of which none is better than another.
    pub fn number(name: impl Into<String>) -> Self {
        Column { align: Align::Right, ..Column::text(name) }
    }

    /// A column of numbers with two decimals, of which the highest is the best.
    pub fn accuracy(name: impl Into<String>) -> Self {
        Column { higher_is_better: Some(true), ..Column::number(name) }
    }
}

impl Cell {
    /// The number that is compared, if it is one.
    fn value(&self) -> Option<f64> {
        match *self {
            Cell::Percent(value) | Cell::Number(value) | Cell::MeanStd { mean: value, .. } => Some(value),
            Cell::Text(_) | Cell::Missing => None,
        }
    }

    /// The cell in plain text.
    pub(super) fn plain(&self, decimals: usize) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Percent(value) | Cell::Number(value) => format!("{value:.decimals$}"),
            Cell::MeanStd { mean, std } => format!("{mean:.decimals$} ± {std:.decimals$}"),
            Cell::Missing => "–".into(),
        }
    }
}

/// A table in which every row has every column, with each cell's rank settled. The forms are made
/// from this.
pub(super) struct Grid<'a> {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Place<'a>>>,
}

/// A cell in its place.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub cell: &'a Cell,
    pub best: bool,
}

impl Table {
    pub(super) fn grid(&self) -> Grid<'_> {
        let width = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(self.columns.len());
        let mut columns = self.columns.clone();
        columns.resize_with(width, || Column::text(""));
        let mut rows: Vec<Vec<Place>> = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let cells = row.iter().chain(std::iter::repeat(&Cell::Missing)).take(width);
            rows.push(cells.map(|cell| Place { cell, best: false }).collect());
        }
        for (index, column) in columns.iter().enumerate() {
            // Compared as shown: values that look equal are equal.
            let shown = |place: &Place| format!("{:.*}", column.decimals, place.cell.value()?).parse::<f64>().ok();
            let Some(higher) = column.higher_is_better else { continue };
            let values = rows.iter().filter_map(|row| shown(&row[index]));
            let Some(best) = values.filter(|value| !value.is_nan()).reduce(if higher { f64::max } else { f64::min })
            else {
                continue;
            };
            rows.iter_mut().for_each(|row| row[index].best = shown(&row[index]) == Some(best));
        }
        for (index, column) in columns.iter_mut().enumerate() {
            let mut measured = rows.iter().map(|row| row[index].cell).filter(|cell| **cell != Cell::Missing).peekable();
            if measured.peek().is_some() && measured.all(|cell| matches!(cell, Cell::Percent(_))) {
                column.name += " (%)";
            }
        }
        Grid { columns, rows }
    }
}
