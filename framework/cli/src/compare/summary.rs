//! A comparison as tables and as files.

use super::differences::Attacks;
use super::gathered::WORST_CASE;
use super::{Comparison, Fate, Row, State};
use crate::report::table::heading;
use crate::report::{Cell, Column, Spread, Style, Table};
use foil::atomic;
use foil::{AtPath, Result};
use serde_json::{Value, json};
use std::path::Path;

impl Comparison {
    /// Methods as rows, attacks as columns: means, with standard deviations where there are several
    /// seeds.
    pub fn table(&self) -> Table {
        let entries = self.entries();
        let seeds = self.rows.iter().map(|row| row.runs.len()).max().unwrap_or(0);
        let mut columns = vec![Column::text("model")];
        if seeds > 1 {
            columns.push(Column { decimals: 0, ..Column::number("seeds") });
        }
        columns.extend(entries.iter().map(|name| Column::accuracy(title(name))));
        columns.push(Column::accuracy("Avg"));
        let cell = |spread: Option<Spread>| spread.map_or(Cell::Missing, Spread::cell);
        let rows = self.rows.iter().map(|row| {
            let mut cells = vec![Cell::Text(row.label.clone())];
            if seeds > 1 {
                cells.push(Cell::Number(row.runs.len() as f64));
            }
            cells.extend(entries.iter().map(|name| cell(row.accuracy(name))));
            cells.push(cell(row.avg()));
            cells
        });
        Table { title: "Accuracy under attack, percent".into(), columns, rows: rows.collect() }
    }

    /// How each checkpoint was chosen, and where each run is.
    pub fn runs(&self) -> Table {
        let columns = ["model", "seed", "run", "checkpoint", "chosen by", "folder"];
        let number = |name: &str| Column { decimals: 0, ..Column::number(name) };
        let columns = columns.iter().map(|&name| if name == "seed" { number(name) } else { Column::text(name) });
        let rows = self.tasks.iter().map(|(task, fate)| {
            let pipeline = &task.wanted.pipeline;
            let run = self.rows.iter().flat_map(|row| &row.runs).find(|(run, _)| run.path == task.folder);
            let checkpoint = run.and_then(|(run, _)| run.best).map_or(Cell::Missing, |best| {
                Cell::Text(format!("epoch {} of {} ({:.2})", best.epoch, pipeline.train.epochs, best.score))
            });
            let images = match pipeline.images.validation {
                0 => "test images".to_string(),
                held => format!("{held} held-out training images"),
            };
            vec![
                Cell::Text(task.wanted.row.clone()),
                Cell::Number(pipeline.seed as f64),
                Cell::Text(describe(fate).into()),
                checkpoint,
                Cell::Text(format!("{} on {images}", pipeline.select)),
                Cell::Text(task.folder.display().to_string()),
            ]
        });
        Table { title: "Runs".into(), columns: columns.collect(), rows: rows.collect() }
    }

    /// Accuracy of each class under `entry`, methods as rows; none without images.
    pub fn per_class(&self, entry: &str) -> Option<Table> {
        per_class(&self.rows, entry)
    }

    /// The attack whose accuracy is the lowest over all rows, used as the single figure for
    /// robustness.
    pub fn hardest(&self) -> Option<String> {
        let mean = |name: &String| {
            Spread::of(&self.rows.iter().filter_map(|row| Some(row.accuracy(name)?.mean)).collect::<Vec<_>>())
        };
        let attacks = self.entries().into_iter().filter(|name| name != foil_runs::eval::NATURAL && name != WORST_CASE);
        attacks
            .filter_map(|name| Some((mean(&name)?.mean, name)))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name)
    }

    /// Everything for a terminal, with the differences under these attacks.
    pub fn terminal(&self, style: Style, attacks: Attacks) -> String {
        let mut out = self.table().terminal(style);
        if let Some(table) = self.differences(attacks) {
            out += &format!("\n{}{}\n", table.terminal(style), self.reading().join("\n"));
        }
        out += &format!("\n{}", self.runs().terminal(style));
        self.notes.iter().for_each(|note| out += &format!("note: {note}\n"));
        out
    }

    /// Writes `table.md`, `table.tex`, `table.csv`, `differences.csv` and `compare.json` into
    /// `dir`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).at("making", dir)?;
        let mut page = self.table().markdown();
        let mut add = |table: Table, below: &str| page += &format!("\n{}{below}", table.markdown());
        let differences = self.differences(Attacks::All);
        let below = differences.as_ref().map_or(String::new(), |table| format!("\n{}", table.latex()));
        let latex = self.table().latex() + &below;
        if let Some(table) = differences {
            add(table, &format!("\n{}\n", self.reading().join("\n")));
        }
        if let Some(table) = self.hardest().and_then(|entry| self.per_class(&entry)) {
            add(table, "");
        }
        add(self.runs(), "");
        page.push('\n');
        self.notes.iter().for_each(|note| page += &format!("- {note}\n"));
        let json = serde_json::to_string_pretty(&self.json()).at("writing", dir)? + "\n";
        let files = [
            ("table.md", page),
            ("table.tex", latex),
            ("table.csv", self.table().csv()),
            ("differences.csv", self.tests().csv()),
            ("compare.json", json),
        ];
        for (name, text) in files {
            atomic::write(dir.join(name), text).at("writing", &dir.join(name))?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let spread = |spread: Option<Spread>| spread.map(|s| json!({ "mean": s.mean, "std": s.std, "n": s.n }));
        let entries = self.entries();
        let base = self.rows.get(self.baseline);
        let rows = self.rows.iter().enumerate().map(|(n, row)| {
            let accuracy: serde_json::Map<_, _> =
                entries.iter().map(|name| (name.clone(), json!(spread(row.accuracy(name))))).collect();
            let tested = entries.iter().zip(self.against.get(n).into_iter().flatten());
            let against: serde_json::Map<_, _> =
                tested.filter_map(|(name, one)| Some((name.clone(), json!(one.as_ref()?)))).collect();
            let runs = row.runs.iter().map(|(run, _)| {
                json!({
                    "seed": run.pipeline.seed, "folder": run.path, "hash": run.hash, "select": run.pipeline.select,
                    "epoch": run.best.map(|best| best.epoch), "score": run.best.map(|best| best.score),
                })
            });
            json!({
                "model": row.label, "accuracy": accuracy, "avg": spread(row.avg()), "against_baseline": against,
                "runs": runs.collect::<Vec<_>>(),
            })
        });
        json!({
            "foil_version": foil::VERSION, "date": foil_runs::record::stamp::now(), "baseline": base.map(|row| &row.label),
            "rows": rows.collect::<Vec<_>>(), "missing": self.missing(), "notes": self.notes,
        })
    }
}

/// Accuracy of each class under `entry`, methods as rows; none without images.
pub fn per_class(rows: &[Row], entry: &str) -> Option<Table> {
    let classes: Vec<_> = rows.iter().map(|row| (&row.label, row.per_class(entry))).collect();
    let mut all: Vec<i64> = classes.iter().flat_map(|(_, of)| of.iter().map(|(class, ..)| *class)).collect();
    all.sort_unstable();
    all.dedup();
    let names = rows.iter().find_map(|row| Some(row.runs.first()?.0.class_names()))?;
    let name = |class: i64| {
        let name = usize::try_from(class).ok().and_then(|class| names.get(class));
        name.map_or_else(|| class.to_string(), String::clone)
    };
    let mut columns = vec![Column::text("model")];
    columns.extend(all.iter().map(|class| Column { decimals: 1, ..Column::accuracy(name(*class)) }));
    let rows = classes.iter().map(|(label, of)| {
        let cell = |class: &i64| of.iter().find(|(other, ..)| other == class).map_or(Cell::Missing, |(.., s)| s.cell());
        std::iter::once(Cell::Text(label.to_string())).chain(all.iter().map(cell)).collect()
    });
    let title = format!("Accuracy of each class under {}, percent", title(entry));
    (!all.is_empty()).then(|| Table { title, columns, rows: rows.collect() })
}

/// An attack's name as a heading.
pub(super) fn title(name: &str) -> String {
    if name == WORST_CASE { "Worst case".into() } else { heading(name) }
}

fn describe(fate: &Fate) -> &'static str {
    match fate {
        Fate::Reused => "reused",
        Fate::Worked(State::New | State::Partial(0)) => "trained",
        Fate::Worked(State::Partial(_)) => "resumed",
        Fate::Worked(_) => "evaluated",
        Fate::Failed(_) => "failed",
        Fate::Stopped => "missing",
    }
}
