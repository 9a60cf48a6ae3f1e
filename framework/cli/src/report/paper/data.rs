//! The tables of the CAT paper as data: their figures, and the conditions for a run to belong to a
//! row.

use serde::Deserialize;
use serde_yaml::Value;
use std::collections::BTreeMap;

/// Dotted keys and the values that a run must have. A list means any of its values; a word matches
/// a component by its name.
pub type Conditions = BTreeMap<String, Value>;

/// One table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperTable {
    /// Its caption.
    pub title: String,
    /// Digits after the point, as the paper prints them.
    pub decimals: usize,
    /// Conditions for all its runs.
    pub is: Conditions,
    /// For each attack of the evaluation, the required settings.
    #[serde(default)]
    pub evaluate: BTreeMap<String, Conditions>,
    /// Overrides that the commands of missing rows need.
    #[serde(default)]
    pub with: Vec<String>,
    /// Its columns.
    pub columns: Vec<PaperColumn>,
    /// Its rows.
    pub rows: Vec<PaperRow>,
}

/// One column.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperColumn {
    /// Its heading.
    pub name: String,
    /// The attack of the evaluation, `natural`, or `avg` for the mean of the others.
    pub entry: String,
    /// Its name in the rows' figures; by default the entry's.
    #[serde(default)]
    key: Option<String>,
    /// Additional conditions for its runs.
    #[serde(default)]
    pub is: Conditions,
    /// Which of the rows' configs fills it.
    #[serde(default)]
    pub config: usize,
}

/// One row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperRow {
    /// The method, as it is printed.
    pub label: String,
    /// The loss as it is printed, if the table is about losses.
    #[serde(default)]
    pub formula: Option<String>,
    /// The pipelines that make it.
    pub config: Vec<String>,
    /// Additional conditions for its runs.
    pub is: Conditions,
    /// Settings of attacks that this row may have in addition to the table's.
    #[serde(default)]
    pub evaluate: BTreeMap<String, Conditions>,
    /// Its figures in percent, by the columns' keys.
    pub paper: BTreeMap<String, f64>,
}

impl PaperColumn {
    /// Its name in the rows' figures.
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.entry)
    }
}

const TABLES: [(u8, &str); 7] = [
    (1, include_str!("tables/table1.yaml")),
    (2, include_str!("tables/table2.yaml")),
    (3, include_str!("tables/table3.yaml")),
    (4, include_str!("tables/table4.yaml")),
    (7, include_str!("tables/table7.yaml")),
    (8, include_str!("tables/table8.yaml")),
    (9, include_str!("tables/table9.yaml")),
];

/// The numbers of the available tables.
pub fn numbers() -> Vec<u8> {
    TABLES.iter().map(|(number, _)| *number).collect()
}

/// The table with this number in the paper.
pub fn table(number: u8) -> Option<PaperTable> {
    let (_, text) = TABLES.iter().find(|(known, _)| *known == number)?;
    serde_yaml::from_str(text).ok() // a test reads them all
}

/// Whether `settings` meets `conditions`.
pub fn fits(settings: &Value, conditions: &Conditions) -> bool {
    conditions.iter().all(|(path, wanted)| {
        let found = path.split('.').try_fold(settings, |value, key| value.get(key)).unwrap_or(&Value::Null);
        match wanted {
            Value::Sequence(any) => any.iter().any(|wanted| same(found, wanted)),
            wanted => same(found, wanted),
        }
    })
}

fn same(found: &Value, wanted: &Value) -> bool {
    if let (Some(found), Some(wanted)) = (number(found), number(wanted)) {
        return (found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0);
    }
    match (found, wanted) {
        (Value::Mapping(map), Value::String(_)) => map.get("type") == Some(wanted),
        _ => found == wanted,
    }
}

/// A number, or a fraction such as `8/255`.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| foil_config::fraction(value.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_whole() {
        for (number, text) in TABLES {
            let table: PaperTable = serde_yaml::from_str(text).unwrap_or_else(|e| panic!("table {number}: {e}"));
            let keys: Vec<&str> = table.columns.iter().map(PaperColumn::key).collect();
            for row in &table.rows {
                assert!(row.paper.keys().all(|key| keys.contains(&key.as_str())), "table {number}, {}", row.label);
                assert!(table.columns.iter().all(|column| column.config < row.config.len()), "table {number}");
            }
        }
    }

    /// The paper's averages are those of its columns, rounded.
    #[test]
    fn averages_are_the_papers() {
        let mut checked = 0;
        for table in [2, 3, 7].map(|number| table(number).unwrap()) {
            for row in &table.rows {
                let others: Vec<f64> =
                    row.paper.iter().filter(|(key, _)| *key != "avg").map(|(_, value)| *value).collect();
                let mean = others.iter().sum::<f64>() / others.len() as f64;
                assert!(
                    (mean - row.paper["avg"]).abs() < 0.11,
                    "{}: {} {mean} {}",
                    table.title,
                    row.label,
                    row.paper["avg"]
                );
                checked += 1;
            }
        }
        assert_eq!(checked, 25);
    }

    #[test]
    fn conditions() {
        let settings: Value = serde_yaml::from_str("{ a: { type: pgd, eps: 8/255, limit: null }, b: cat }").unwrap();
        let fits = |text: &str| super::fits(&settings, &serde_yaml::from_str(text).unwrap());
        assert!(fits("{ a: pgd, a.eps: 0.03137254901960784, a.limit: null, b: cat, c: null }"));
        assert!(fits("{ a.eps: [0.031, 8/255] }"));
        for text in ["{ a: fgsm }", "{ a.eps: 0.031 }", "{ a.limit: 5 }", "{ b: [at, mart] }", "{ a.x.y: 1 }"] {
            assert!(!fits(text), "{text}");
        }
    }
}
