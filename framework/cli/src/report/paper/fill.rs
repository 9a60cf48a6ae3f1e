//! Which run belongs to which row of a paper's table, and what is left to be trained.

use super::data::{PaperColumn, PaperRow, PaperTable, fits};
use crate::compare::slurm::quoted;
use crate::report::{Align, Cell, Column, Run, Spread, Table};
use foil_runs::record::EvalRecord;
use serde_yaml::Value;

/// A method of ours: the runs that differ only in their seed.
#[derive(Debug, Clone)]
pub struct Ours<'a> {
    /// Its name.
    pub label: &'a str,
    /// The runs; those that are not evaluated have no figures.
    pub runs: Vec<&'a Run>,
}

/// A paper's table with ours beside it.
#[derive(Debug)]
pub struct Filled {
    /// For each method our line, the paper's, and the difference, ours minus theirs.
    pub table: Table,
    /// Whether there is a figure of ours in it.
    pub has_ours: bool,
    /// Notes for the reader.
    pub notes: Vec<String>,
    /// The methods that are in no row of it.
    pub unused: Vec<String>,
    /// The commands that make the missing runs, each with the row that it fills.
    pub commands: Vec<(String, String)>,
}

/// Puts `rows` into the paper's table by their runs' settings, whatever their names.
pub fn fill(paper: &PaperTable, rows: &[Ours]) -> Filled {
    let settings: Vec<(&Ours, Value)> = rows
        .iter()
        .filter_map(|row| Some((row, serde_yaml::to_value(&row.runs.first()?.pipeline).ok()?)))
        .filter(|(_, settings)| fits(settings, &paper.is))
        .collect();
    let formulas = paper.rows.iter().any(|row| row.formula.is_some());
    let mut columns = vec![Column::text("method")];
    columns.extend(formulas.then(|| Column::text("loss")));
    columns.push(Column::text("figures"));
    let number =
        |column: &PaperColumn| Column { decimals: paper.decimals, align: Align::Right, ..Column::text(&column.name) };
    columns.extend(paper.columns.iter().map(number));
    let table = Table { title: paper.title.clone(), columns, rows: Vec::new() };
    let (notes, unused, commands) = (Vec::new(), Vec::new(), Vec::new());
    let mut filled = Filled { table, has_ours: false, notes, unused, commands };

    let mut used: Vec<&str> = Vec::new();
    for row in &paper.rows {
        // For each column, our rows that fit it: by the table's and the row's conditions, then the
        // column's.
        let fitting: Vec<Vec<&Ours>> = paper
            .columns
            .iter()
            .map(|column| {
                let all = settings.iter().filter(|(_, settings)| fits(settings, &row.is) && fits(settings, &column.is));
                all.map(|(ours, _)| *ours).collect()
            })
            .collect();
        used.extend(fitting.iter().flatten().map(|ours| ours.label));
        let lines = fitting.iter().map(Vec::len).max().unwrap_or(0).max(1);
        for line in 0..lines {
            let ours: Vec<Option<&Ours>> = fitting.iter().map(|column| column.get(line).copied()).collect();
            filled.line(paper, row, &ours, lines > 1, formulas);
        }
        filled.missing(paper, row, &fitting);
    }
    let unused = rows.iter().map(|row| row.label).filter(|label| !used.contains(label));
    filled.unused = unused.map(str::to_string).collect();
    filled
}

impl Filled {
    /// Our line, the paper's, and the difference.
    fn line(&mut self, paper: &PaperTable, row: &PaperRow, ours: &[Option<&Ours>], several: bool, formulas: bool) {
        let spreads: Vec<Option<Spread>> =
            paper.columns.iter().zip(ours).map(|(column, ours)| self.figure(paper, row, column, (*ours)?)).collect();
        self.has_ours |= spreads.iter().any(Option::is_some);
        let mut labels: Vec<&str> = ours.iter().flatten().map(|row| row.label).collect();
        labels.dedup();
        let label = if several { format!("{} [{}]", row.label, labels.join(", ")) } else { row.label.clone() };
        let mut push = |whose: &str, cells: Vec<Cell>| {
            let first = whose == "ours";
            let text = |text: &str| if first { Cell::Text(text.into()) } else { Cell::Text(String::new()) };
            let mut line = vec![text(&label)];
            line.extend(formulas.then(|| text(row.formula.as_deref().unwrap_or_default())));
            line.push(Cell::Text(whose.into()));
            line.extend(cells);
            self.table.rows.push(line);
        };
        push("ours", spreads.iter().map(|spread| spread.map_or(Cell::Missing, number)).collect());
        if formulas {
            return;
        }
        let theirs: Vec<Option<f64>> =
            paper.columns.iter().map(|column| row.paper.get(column.key()).copied()).collect();
        push("paper", theirs.iter().map(|value| value.map_or(Cell::Missing, Cell::Number)).collect());
        if spreads.iter().any(Option::is_some) {
            let difference = |(ours, theirs): (&Option<Spread>, &Option<f64>)| match (ours, theirs) {
                (Some(ours), Some(theirs)) => Cell::Text(signed(ours.mean - theirs, paper.decimals)),
                _ => Cell::Missing,
            };
            push("difference", spreads.iter().zip(&theirs).map(difference).collect());
        }
    }

    /// Our figure for a column: over the seeds, from evaluations with the paper's settings.
    fn figure(&mut self, paper: &PaperTable, row: &PaperRow, column: &PaperColumn, ours: &Ours) -> Option<Spread> {
        let others = || paper.columns.iter().filter(|other| other.entry != "avg");
        let mut values = Vec::new();
        for run in &ours.runs {
            let eval = run.eval()?;
            let value = match column.entry.as_str() {
                "avg" => {
                    let all: Vec<f64> =
                        others().filter_map(|other| self.accuracy(paper, row, other, run, eval)).collect();
                    (all.len() == others().count()).then(|| all.iter().sum::<f64>() / all.len() as f64)
                }
                _ => self.accuracy(paper, row, column, run, eval),
            };
            values.extend(value);
        }
        Spread::of(&values)
    }

    fn accuracy(
        &mut self,
        paper: &PaperTable,
        row: &PaperRow,
        column: &PaperColumn,
        run: &Run,
        eval: &EvalRecord,
    ) -> Option<f64> {
        let entry = eval.entry(&column.entry)?;
        let settings = serde_yaml::to_value(&entry.attack).ok()?;
        let mut asked = paper.evaluate.get(&column.entry).cloned().unwrap_or_default();
        asked.extend(row.evaluate.get(&column.entry).cloned().unwrap_or_default());
        let other = asked.iter().find(|(key, value)| !fits(&settings, &[((*key).clone(), (*value).clone())].into()));
        let Some((key, value)) = other else { return Some(entry.accuracy) };
        let wanted = serde_yaml::to_string(value).unwrap_or_default().trim().to_string();
        let note = format!(
            "{} of {} is left out: its `{key}` is not the paper's ({wanted}); evaluate again: foil eval {}",
            column.name,
            run.path.display(),
            run.path.display()
        );
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
        None
    }

    /// The commands for empty columns.
    fn missing(&mut self, paper: &PaperTable, row: &PaperRow, fitting: &[Vec<&Ours>]) {
        let empty = paper.columns.iter().zip(fitting).filter(|(_, fitting)| fitting.is_empty());
        for config in empty.filter_map(|(column, _)| row.config.get(column.config)) {
            let verb = if config.contains("/sweeps/") { "sweep" } else { "train" };
            let words = paper.with.iter().map(|word| format!(" {}", quoted(word)));
            let command = format!("foil {verb} {config}{}", words.collect::<String>());
            if !self.commands.iter().any(|(_, known)| *known == command) {
                self.commands.push((row.label.clone(), command));
            }
        }
    }
}

/// With its sign, unless it rounds to 0: `+0.4`, `-0.7`, `0.0`.
fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{value:+.decimals$}");
    let nothing = text[1..].chars().all(|c| matches!(c, '0' | '.'));
    if nothing { text[1..].to_string() } else { text }
}

/// A figure without the unit, which the title has.
fn number(spread: Spread) -> Cell {
    match spread.std {
        Some(std) => Cell::MeanStd { mean: spread.mean, std },
        None => Cell::Number(spread.mean),
    }
}
