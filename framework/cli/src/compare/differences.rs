//! Every method against the baseline: p-values by themselves and corrected for their number,
//! differences, and their intervals.

use super::gathered::WORST_CASE;
use super::significance::{Difference, FEW, Unit};
use super::summary::title;
use super::{Comparison, Row};
use crate::report::{Cell, Column, Table};
use foil_runs::eval::NATURAL;

/// Which attacks' differences a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attacks {
    /// Natural accuracy, and the worst case or the hardest attack.
    Few,
    /// All.
    All,
}

impl Comparison {
    /// Every row's difference to the baseline: Holm's p-value, the test's own, the points and their
    /// interval. None where nothing can be tested.
    pub fn differences(&self, attacks: Attacks) -> Option<Table> {
        let base = self.rows.get(self.baseline)?;
        let (entries, shown) = (self.entries(), self.shown(attacks));
        let mut rows = Vec::new();
        for (row, cells) in self.rows.iter().zip(&self.against) {
            let tested = entries.iter().zip(cells).filter(|(name, _)| shown.contains(name));
            rows.extend(tested.filter_map(|(name, one)| Some(line(row, name, one.as_ref()?))));
        }
        let words = ["model", "attack"].map(Column::text);
        let numbers = ["p (Holm)", "p", "points", "95 % interval"].map(Column::number);
        let columns = words.into_iter().chain(numbers).collect();
        let title = format!("Difference to {}", base.label);
        (!rows.is_empty()).then_some(Table { title, columns, rows })
    }

    /// The attacks of which a table speaks.
    fn shown(&self, attacks: Attacks) -> Vec<String> {
        let entries = self.entries();
        let robust = match entries.iter().any(|name| name == WORST_CASE) {
            true => Some(WORST_CASE.to_string()),
            false => self.hardest(),
        };
        let is_shown = |name: &String| attacks == Attacks::All || name == NATURAL || robust.as_ref() == Some(name);
        entries.into_iter().filter(is_shown).collect()
    }

    /// The same for programs: a line for each test.
    pub fn tests(&self) -> Table {
        let base = self.rows.get(self.baseline).map_or("", |row| &row.label);
        let words = ["model", "baseline", "attack", "unit"].map(Column::text);
        let numbers = ["seeds", "baseline_seeds", "points", "low", "high", "p", "p_holm"].map(Column::number);
        let entries = self.entries();
        let mut rows = Vec::new();
        for (row, cells) in self.rows.iter().zip(&self.against) {
            for (name, one) in entries.iter().zip(cells) {
                let Some(one) = one else { continue };
                let unit = if one.unit == Unit::Seeds { "seeds" } else { "images" };
                let words = [&row.label, base, name, unit].map(|word| Cell::Text(word.to_string()));
                let [ours, theirs] = one.seeds.map(|seeds| seeds as f64);
                let numbers = [ours, theirs, one.points, one.low, one.high, one.p, one.p_holm].map(Cell::Number);
                rows.push(words.into_iter().chain(numbers).collect());
            }
        }
        Table { title: String::new(), columns: words.into_iter().chain(numbers).collect(), rows }
    }

    /// How the table of differences is to be read, a sentence a line.
    pub(super) fn reading(&self) -> Vec<String> {
        let tests: Vec<&Difference> = self.against.iter().flatten().flatten().collect();
        let mut lines = Vec::new();
        let over_seeds: Vec<_> = tests.iter().filter(|one| one.unit == Unit::Seeds).collect();
        if over_seeds.len() < tests.len() {
            lines.push(
                "One seed: this pair of networks, not these methods (exact McNemar test on the images, and its interval)."
                    .into(),
            );
        }
        if let Some(few) = over_seeds.iter().flat_map(|one| one.seeds).min() {
            lines.push("Methods over their seeds: Welch's t test and its interval, on these test images.".into());
            if few < FEW {
                lines.push(format!(
                    "{few} seeds are few: of methods 3 standard deviations apart this finds 20 % with 2 seeds, 68 % with 3, \
                     98 % with 5."
                ));
            }
        }
        lines.push(format!("Holm: corrected for all {} tests; the intervals are not.", tests.len()));
        lines
    }
}

fn line(row: &Row, attack: &str, one: &Difference) -> Vec<Cell> {
    let interval = format!("{:+.2} to {:+.2}", one.low, one.high);
    let texts = [row.label.clone(), title(attack), p(one.p_holm), p(one.p), format!("{:+.2}", one.points), interval];
    texts.map(Cell::Text).to_vec()
}

/// `0.012`, or `< 0.001`.
fn p(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}
