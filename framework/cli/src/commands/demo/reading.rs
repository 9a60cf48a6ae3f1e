//! What the demo's table says, in words.

use foil_runs::record::EvalRecord;

/// A network of the table: percent of clean digits, and of those that no attack broke.
struct Row<'a> {
    name: &'a str,
    natural: f64,
    worst: f64,
}

/// Why a method may leave less than another on these digits, for readers of the table.
const WHY: [(&str, &str); 3] = [
    ("TRADES", "beta 2 leaves a part of its loss to clean digits"),
    (
        "CAT_cw",
        "it learns at half the rate of the others, which keeps its mask open, and AT at that rate is worse, too \
         (docs/results/demo.md)",
    ),
    ("AT", "its attack in training takes five steps from one start"),
];

/// The table in words: what the attacks did to each network, and who did worse than whom, by how
/// much and why. What lies within the scatter of so few digits is called level.
pub(super) fn text(records: &[EvalRecord]) -> String {
    let rows: Vec<Row> = records.iter().filter_map(row).collect();
    let n = records.first().map_or(0, |record| record.n);
    let [undefended, short, long @ ..] = rows.as_slice() else { return String::new() };
    let mut lines = vec![
        format!(
            "Cells are percentages of {n} test digits read correctly; every pixel may change by {}. A digit counts in the last",
            records.first().map_or(0.0, |record| record.threat.eps)
        ),
        "column if none of the attacks broke it.".to_string(),
        format!(
            "- {} reads {:.1} % of clean digits, and {:.1} % of attacked ones.",
            undefended.name, undefended.natural, undefended.worst
        ),
    ];
    let mut long: Vec<&Row> = long.iter().collect();
    if let Some(same) = long.iter().find(|row| method(row) == method(short)) {
        lines.push(format!("- {}: {}.", short.name, against(short, same, n, "its training was shorter")));
    }
    long.sort_by(|a, b| b.worst.total_cmp(&a.worst));
    if let [best, others @ ..] = long.as_slice() {
        for other in others {
            let why = WHY.iter().find(|(name, _)| *name == method(other)).map_or("", |(_, why)| why);
            lines.push(format!("- {}: {}.", other.name, against(other, best, n, why)));
        }
    }
    lines.join("\n")
}

/// A network's name up to the length of its training.
fn method<'a>(row: &Row<'a>) -> &'a str {
    row.name.split(',').next().unwrap_or_default()
}

fn row(record: &EvalRecord) -> Option<Row<'_>> {
    Some(Row { name: &record.model, natural: record.entry("natural")?.accuracy, worst: record.worst_case? })
}

/// How `row` compares with `other` in the worst case; `why` is said where it is really less.
fn against(row: &Row, other: &Row, n: u64, why: &str) -> String {
    let variance = |percent: f64| percent * (100.0 - percent) / n.max(1) as f64;
    let error = (variance(row.worst) + variance(other.worst)).sqrt();
    let less = other.worst - row.worst;
    let (worst, name, scatter) = (row.worst, other.name, 2.0 * error);
    if less > scatter {
        format!("{worst:.1} % under attack, {less:.1} points less than {name}: {why}")
    } else {
        let (by, more) = (less.abs(), if less < 0.0 { "more" } else { "less" });
        format!(
            "{worst:.1} % under attack, {by:.1} points {more} than {name}, which is within the scatter of {n} digits \
             ({scatter:.1});\n  docs/results/demo.md has 1,000 digits, and reasons"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(worst: f64, best: f64) -> String {
        let row = |name, worst| Row { name, natural: 99.0, worst };
        against(&row("CAT_cw, 20 epochs", worst), &row("AT", best), 100, "why")
    }

    /// Twice the standard error of the difference of 50 % and 80 % of 100 is 2 sqrt(25 + 16) =
    /// 12.8.
    #[test]
    fn who_does_worse_is_said_with_a_reason_and_scatter_is_called_that() {
        assert_eq!(reading(50.0, 80.0), "50.0 % under attack, 30.0 points less than AT: why");
        let level = reading(80.0, 85.0);
        assert!(level.starts_with("80.0 % under attack, 5.0 points less than AT, which is within the scatter of 100"));
        assert!(level.contains("(10.7)") && !level.contains("why"), "{level}");
        assert!(reading(85.0, 80.0).contains("5.0 points more than AT"));
        let row = Row { name: "CAT_cw, 20 epochs", natural: 0.0, worst: 0.0 };
        assert!(WHY.iter().any(|(name, _)| *name == method(&row)));
    }
}
