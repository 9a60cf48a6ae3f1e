//! `foil table`: runs in the tables of the paper, or side by side.

use super::{Exit, json, note, words};
use crate::compare::{Comparison, Row, oddities};
use crate::report::gather::{find, group, named};
use crate::report::paper::{Ours, fill, model_info, numbers, table};
use crate::report::{Run, Stage, Style, Table};
use clap::ValueEnum;
use foil::atomic;
use foil::{AtPath, Error, Result};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show runs beside the published figures of the CAT paper, or side by side.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil table 2                                  the paper's Table 2 with the runs in runs/ that belong there
  foil table 2 runs --format latex --out t2.tex
  foil table accuracy runs/at runs/trades       these two, averaged over seeds
  foil table per-class runs --attack pgd20
  foil table robustbench runs                   a record per model, as RobustBench's model_info

A run's settings decide which row it fills, not its name.")]
pub(super) struct Args {
    /// The paper's table 1, 2, 3, 4, 7, 8 or 9; or accuracy, per-class or robustbench.
    what: String,
    /// Run folders, or folders of them (default: runs).
    runs: Vec<PathBuf>,
    /// The output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write to a file instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// For per-class: the attack (default: the one under which the runs are weakest).
    #[arg(long)]
    attack: Option<String>,
}

/// The form of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A box for the terminal.
    #[default]
    Terminal,
    /// GitHub Markdown.
    Markdown,
    /// LaTeX with `\usepackage{booktabs}`.
    Latex,
    /// Comma-separated values, for programs.
    Csv,
}

impl Format {
    fn of(self, table: &Table, to_file: bool) -> String {
        match self {
            Format::Terminal if to_file => table.terminal(Style::default()),
            Format::Terminal => table.terminal(Style::stdout()),
            Format::Markdown => table.markdown(),
            Format::Latex => table.latex(),
            Format::Csv => table.csv(),
        }
    }
}

pub(super) fn run(args: &Args) -> Exit {
    let known = ["accuracy", "per-class", "robustbench"];
    let paper = args.what.parse().ok().and_then(table);
    if paper.is_none() && !known.contains(&args.what.as_str()) {
        let tables: Vec<String> = numbers().iter().map(ToString::to_string).collect();
        return Err(Error::new(format!("there is no table `{}`", args.what)).help(format!(
            "the paper's: {}; or: {}",
            tables.join(", "),
            known.join(", ")
        )));
    }
    let (rows, mut notes) = rows(&args.runs)?;
    notes.extend(oddities(&rows));
    let to_file = args.out.is_some();
    let text = match (&paper, args.what.as_str()) {
        (Some(paper), _) => {
            let filled = fill(paper, &rows.iter().map(ours).collect::<Vec<_>>());
            notes.extend(filled.notes);
            if !filled.unused.is_empty() {
                notes.push(format!("in no row of this table: {}", filled.unused.join(", ")));
            }
            let mut text = args.format.of(&filled.table, to_file);
            let commands = filled.commands.iter().map(|(row, command)| format!("missing: {row}: {command}"));
            // In a file for LaTeX or a spreadsheet these would be out of place.
            if matches!(args.format, Format::Terminal | Format::Markdown) {
                let list: Vec<String> = commands
                    .map(|line| if args.format == Format::Markdown { format!("- {line}") } else { line })
                    .collect();
                text += &if list.is_empty() { String::new() } else { format!("\n{}\n", list.join("\n")) };
            } else {
                notes.extend(commands);
            }
            text
        }
        (None, "robustbench") => {
            let records: Vec<_> = rows.iter().filter_map(model_info).collect();
            json(&records)? + "\n"
        }
        (None, what) => {
            let compared = Comparison { rows, ..Comparison::default() };
            let table = match what {
                "per-class" => per_class(&compared, args.attack.as_deref())?,
                _ => compared.table(),
            };
            args.format.of(&table, to_file)
        }
    };
    match &args.out {
        Some(path) => {
            atomic::write(path, text).at("writing", path)?;
            println!("{}", path.display());
        }
        None => print!("{text}"),
    }
    notes.iter().for_each(note);
    Ok(ExitCode::SUCCESS)
}

/// A row as a paper's table takes it.
pub(super) fn ours(row: &Row) -> Ours<'_> {
    Ours { label: &row.label, runs: row.runs.iter().map(|(run, _)| run).collect() }
}

pub(super) fn per_class(compared: &Comparison, attack: Option<&str>) -> Result<Table> {
    let attack = attack.map(str::to_string).or_else(|| compared.hardest());
    let table = attack.as_deref().and_then(|attack| compared.per_class(attack));
    table.ok_or_else(|| {
        let under = attack.map_or(String::new(), |attack| format!(" under `{attack}`"));
        Error::new(format!("no run has stored its images{under}")).help(
            "evaluate again: foil eval RUN; the attacks of these runs are: ".to_string()
                + &compared.entries().join(", "),
        )
    })
}

/// The runs in `paths`, those that differ only in their seed as one row, and what is odd about
/// them. Without paths, the folder `runs` if there is one.
pub(super) fn rows(paths: &[PathBuf]) -> Result<(Vec<Row>, Vec<String>)> {
    let (folders, mut notes) =
        if paths.is_empty() { (find(&[PathBuf::from("runs")]), Vec::new()) } else { named(paths)? };
    let (runs, errors) = Run::load_all(&folders);
    let unread: Vec<String> = errors.iter().map(|error| format!("left out: {}", words(error))).collect();
    if runs.is_empty() && !paths.is_empty() {
        return Err(Error::new("none of these runs can be read").help(unread.join("\n        ")));
    }
    notes.extend(unread);
    let mut evaluated = Vec::new();
    for run in runs {
        let path = run.path.display();
        if let Stage::Partial(epochs) = run.stage() {
            notes.push(format!(
                "{path} has done {epochs} of {} epochs; resume it: foil train --resume {path}",
                run.pipeline.train.epochs
            ));
        }
        match run.eval() {
            None if run.outdated => notes.extend(run.notes),
            None => {
                let path = path.to_string();
                notes.extend(run.notes);
                notes.push(format!("{path} is not evaluated and is left out; evaluate it: foil eval {path}"));
            }
            Some(_) => evaluated.push(run),
        }
    }
    notes.extend(evaluated.iter().flat_map(|run| run.notes.clone()));
    for run in &evaluated {
        notes.extend(run.evaluated_on_part().map(|part| format!("{} is {part}", run.path.display())));
    }
    let (groups, repeated) = group(evaluated);
    notes.extend(repeated);
    let mut labels: HashMap<String, usize> = HashMap::new();
    groups.iter().for_each(|group| *labels.entry(group.label.clone()).or_default() += 1);
    let mut rows = Vec::new();
    for group in groups {
        let place = group.runs.first().map_or(String::new(), |run| run.path.display().to_string());
        let label = if labels[&group.label] > 1 { format!("{} ({place})", group.label) } else { group.label };
        let mut runs = Vec::new();
        for run in group.runs {
            let images = run.images().unwrap_or_else(|error| {
                notes.push(error.message().to_string());
                None
            });
            runs.push((run, images));
        }
        rows.push(Row { label, runs });
    }
    Ok((rows, notes))
}
