//! `foil eval`: a checkpoint under a suite of attacks, as in the papers' tables.

mod bars;
mod evaluate;
mod table;

pub(super) use evaluate::evaluate;
pub(super) use table::{Last, table};

use super::check::split;
use super::{Exit, open_run};
use crate::report::Style;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use foil::distributed::World;
use foil::{Error, Result};
use foil_runs::eval::trust::Depth;
use foil_runs::record::TrustCheck;
use foil_runs::train::Folder;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Evaluate a run's best checkpoint under its `evaluate` attacks.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  foil eval runs/cat_cw
  foil eval runs/cat_cw 'evaluate=[natural,pgd20,autoattack]'
  foil eval runs/cat_cw attacks.pgd20.steps=50 images.test_limit=1000 --out pgd50.json
  foil eval runs/cat_cw/last.safetensors
  foil eval runs/cat_cw --trust full --transfer runs/at
  foil eval runs/cat_cw 'attacks.pgd20.eps=[2/255, 4/255, 8/255]' 'evaluate=[natural,pgd20]'
  foil eval runs/cat_cw --save-adversarial

It writes the record, eval.json, and a table of the images, eval.images.csv: which attack broke which image, and by what margin.
Run the same command to resume an evaluation that was stopped.")]
pub(super) struct Args {
    /// A run folder, or a checkpoint in one.
    run: PathBuf,
    /// Overrides of the run's pipeline, such as `attacks.pgd20.steps=50`.
    overrides: Vec<String>,
    /// The file for the record (default: eval.json in the run's folder, or NAME.eval.json for a
    /// checkpoint NAME other than the best).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Check whether the figures can be trusted: `quick` uses a tenth of the images, at most 64;
    /// `full` uses 512.
    #[arg(long, value_name = "DEPTH", value_parser = depth(), default_value = "quick")]
    trust: Depth,
    /// Another run, whose adversarial images the checks try on this model.
    #[arg(long, value_name = "RUN")]
    transfer: Option<PathBuf>,
    /// Save the attacked images, labels and verdicts of each attack, as tensors in a folder beside
    /// the record: eval.adversarial/pgd20.safetensors.
    #[arg(long)]
    save_adversarial: bool,
}

fn depth() -> impl TypedValueParser<Value = Depth> {
    let known = Depth::NAMED;
    PossibleValuesParser::new(known.map(|(name, _)| name))
        .map(move |given| known.iter().find(|(name, _)| *name == given).map_or(Depth::default(), |(_, depth)| *depth))
}

/// The options of `foil eval`.
#[derive(Debug, Default)]
pub(super) struct Options {
    overrides: Vec<String>,
    out: Option<PathBuf>,
    trust: Depth,
    transfer: Option<PathBuf>,
    save_adversarial: bool,
}

pub(super) fn run(args: &Args, world: World) -> Exit {
    let (files, overrides) = split(&args.overrides);
    if let Some(file) = files.first() {
        return Err(Error::new(format!("`{}` is not an override", file.display())).help("write key=value"));
    }
    let Args { out, trust, transfer, save_adversarial, .. } = args.clone();
    let options = Options { overrides, out, trust, transfer, save_adversarial };
    show(&args.run, &options, world)
}

/// The run folder and checkpoint that `path` names.
pub(super) fn checkpoint(path: &Path) -> Result<(Folder, PathBuf)> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok((Folder::open(parent)?, path.to_path_buf()));
    }
    let folder = open_run(path)?;
    let best = folder.best();
    if !best.exists() {
        return Err(Error::new(format!("{} has no checkpoint yet", path.display()))
            .help("no epoch has been finished and measured"));
    }
    Ok((folder, best))
}

/// Evaluates, prints the table, and says where the record is.
pub(super) fn show(path: &Path, options: &Options, world: World) -> Exit {
    let (record, out) = evaluate(path, options, world)?;
    if !world.is_first() {
        return Ok(ExitCode::SUCCESS);
    }
    if !record.entries.is_empty() {
        println!("{}", table(std::slice::from_ref(&record), Last::Avg).terminal(Style::stdout()));
    }
    if let Some(corruptions) = &record.corruptions {
        println!("{}", table::by_severity(corruptions).terminal(Style::stdout()));
        println!("{}: {:.2} % of {} images in the mean", corruptions.dataset, corruptions.mean, corruptions.n);
    }
    for entry in record.entries.iter().filter(|entry| !entry.stages.is_empty()) {
        let stages: Vec<String> = entry.stages.iter().map(|s| format!("{} {:.2}", s.name, s.accuracy)).collect();
        println!("{}: {}", entry.name, stages.join(", "));
    }
    if let Some(worst) = record.worst_case.filter(|_| record.entries.len() > 1) {
        println!("robust to all of them: {worst:.2} %");
    }
    for check in &record.trust {
        println!("{}", line(check, Style::stdout().color));
    }
    let threat = if record.threat.eps > 0.0 { record.threat.to_string() } else { "no attack".into() };
    println!("{} test images, {threat}, record: {}", record.n, out.display());
    Ok(ExitCode::SUCCESS)
}

/// A trust check in one line, green or red in a terminal.
fn line(check: &TrustCheck, color: bool) -> String {
    let (mark, paint) = match check.passed {
        Some(true) => ("✓", "32"),
        Some(false) => ("✗", "31"),
        None => ("-", "2"),
    };
    let text = format!("{mark} {}: {}", check.name, check.says);
    if color { format!("\x1b[{paint}m{text}\x1b[0m") } else { text }
}
