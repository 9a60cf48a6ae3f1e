//! `foil list`: what you can combine.

use super::Exit;
use super::as_typed::as_typed;
use crate::report::{Cell, Column, Style, Table};
use foil::registry::{KINDS, plugins};
use foil::{Error, Result};
use std::io::IsTerminal;
use std::process::ExitCode;

/// List what you can combine: data sets, attacks, losses, objectives, models, schedulers and
/// optimizers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil list
  foil list attack
  foil list loss --json
  foil list | grep ^attack | cut -f2       in a pipe: kind, name, crate, summary, with tabs
  foil list loss --plugins target/release/libmy_loss.so")]
pub(super) struct Args {
    /// Only this kind: data, attack, loss, objective, model, scheduler or optimizer.
    kind: Option<String>,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Row {
    kind: &'static str,
    name: &'static str,
    summary: String,
    #[serde(rename = "crate")]
    source: &'static str,
    /// The file it was loaded from; `None` if it is part of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    library: Option<&'static str>,
}

pub(super) fn run(args: &Args) -> Exit {
    if let Some(kind) = &args.kind {
        known(kind)?;
    }
    let rows: Vec<Row> =
        rows().into_iter().filter(|row| args.kind.as_ref().is_none_or(|kind| kind == row.kind)).collect();
    if args.json {
        println!("{}", super::json(&rows)?);
    } else {
        match std::io::stdout().is_terminal() {
            true => {
                print!("{}", table(rows).terminal(Style::stdout()));
                println!("{}", as_typed("`foil explain NAME` describes one and its keys"));
            }
            false => rows.iter().for_each(|row| {
                println!("{}\t{}\t{}\t{}", row.kind, row.name, row.library.unwrap_or(row.source), row.summary);
            }),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn known(kind: &str) -> Result<()> {
    let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    if kinds.contains(&kind) {
        return Ok(());
    }
    Err(Error::new(format!("there is no kind `{kind}`")).help(foil_config::suggest(kind, &kinds, "kinds")))
}

/// Everything by kind, in the order of [`KINDS`], and by name.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, _) in KINDS {
        let of_kind = plugins().into_iter().filter(|entry| entry.kind() == *kind);
        rows.extend(of_kind.map(|entry| Row {
            kind,
            name: entry.name(),
            summary: entry.summary(),
            source: entry.source(),
            library: entry.library(),
        }));
    }
    rows
}

fn table(rows: Vec<Row>) -> Table {
    let text = |text: &str| Cell::Text(text.to_string());
    Table {
        columns: ["name", "kind", "what it is", "from"].map(Column::text).into(),
        rows: rows
            .iter()
            .map(|row| {
                vec![text(row.name), text(row.kind), text(&row.summary), text(row.library.unwrap_or(row.source))]
            })
            .collect(),
        ..Table::default()
    }
}
