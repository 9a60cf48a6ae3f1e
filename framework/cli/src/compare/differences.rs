//! Every method against the baseline: differences, their intervals, and p-values, uncorrected and
//! corrected for multiple tests.

use super::significance::{Difference, REPLICATES};
use super::summary::title;
use super::{Comparison, Row};
use crate::report::{Cell, Column, Table};

impl Comparison {
    /// Every row's difference to the baseline: points, the bootstrap's interval, and the exact
    /// test's p-value, uncorrected and after Holm's correction. `None` if no images are stored.
    pub fn differences(&self) -> Option<Table> {
        let base = self.rows.get(self.baseline)?;
        let mut columns = vec![Column::text("model")];
        columns.extend(self.entries().iter().map(|name| Column::text(title(name))));
        let tested = self.rows.iter().zip(&self.against).filter(|(_, cells)| cells.iter().any(Option::is_some));
        let row = |(row, cells): (&Row, &Vec<Option<Difference>>)| {
            let texts = cells.iter().map(|one| one.as_ref().map_or(Cell::Missing, |one| Cell::Text(shown(one))));
            std::iter::once(Cell::Text(row.label.clone())).chain(texts).collect::<Vec<_>>()
        };
        let rows: Vec<_> = tested.map(row).collect();
        let title = format!("Difference to {} on the same images: points [95 % interval], p", base.label);
        (!rows.is_empty()).then_some(Table { title, columns, rows })
    }

    /// The same for programs: one line per test.
    pub fn tests(&self) -> Table {
        let base = self.rows.get(self.baseline).map_or("", |row| &row.label);
        let words = ["model", "baseline", "attack"].map(Column::text);
        let numbers = ["points", "low", "high", "better", "worse", "p", "p_holm"].map(Column::number);
        let entries = self.entries();
        let mut rows = Vec::new();
        for (row, cells) in self.rows.iter().zip(&self.against) {
            for (name, one) in entries.iter().zip(cells) {
                let Some(one) = one else { continue };
                let (better, worse) = (one.better as f64, one.worse as f64);
                let words = [&row.label, base, name].map(|word| Cell::Text(word.to_string()));
                let numbers = [one.points, one.low, one.high, better, worse, one.p, one.p_holm].map(Cell::Number);
                rows.push(words.into_iter().chain(numbers).collect());
            }
        }
        Table { title: String::new(), columns: words.into_iter().chain(numbers).collect(), rows }
    }

    /// How to read the table of differences.
    pub(super) fn reading(&self) -> String {
        let tests = self.against.iter().flatten().flatten().count();
        format!(
            "interval: bootstrap over images, the same for both, and over each method's seeds ({REPLICATES} replicates); p: exact \
             McNemar test on the images, over several seeds the exact sign test of their accuracies; Holm: p corrected for {tests} \
             tests, the interval is not"
        )
    }
}

/// `+1.20 [0.31, 2.10], p 0.012 (Holm 0.036)`.
fn shown(one: &Difference) -> String {
    let number = |p: f64| if p < 0.001 { "< 0.001".to_string() } else { format!("{p:.3}") };
    let (p, holm) = (number(one.p), number(one.p_holm));
    format!("{:+.2} [{:.2}, {:.2}], p {p} (Holm {holm})", one.points, one.low, one.high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_difference_in_words() {
        let one = Difference { points: 1.2, low: 0.31, high: 2.1, better: 9, worse: 1, p: 0.012, p_holm: 0.036 };
        assert_eq!(shown(&one), "+1.20 [0.31, 2.10], p 0.012 (Holm 0.036)");
        let sure = Difference { points: -3.0, p: 1e-9, p_holm: 0.0012, ..one };
        assert_eq!(shown(&sure), "-3.00 [0.31, 2.10], p < 0.001 (Holm 0.001)");
    }
}
