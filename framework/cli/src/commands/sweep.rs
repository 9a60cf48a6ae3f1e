//! `foil sweep`: every run of a sweep file in one table.

use super::compare::{Job, Options, carry_out};
use super::{Exit, ranks};
use foil::Error;
use foil_runs::pipeline::load;
use std::path::{Path, PathBuf};

/// Train and evaluate every combination of the values under a file's `sweep`, and compare them in
/// one table.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil sweep configs/sweeps/table8_beta.yaml
  foil sweep configs/sweeps/table8_beta.yaml train.epochs=20 --dir runs/short --seeds 3
  foil sweep configs/demo/trades.yaml 'sweep={ loss.beta: [1, 3, 6] }'      any file becomes a sweep

Run the same command again to resume; finished runs are not trained again.")]
pub(super) struct Args {
    /// A pipeline file with `sweep: { KEY: [VALUE, …] }`.
    file: PathBuf,
    /// Overrides for all runs, such as `train.epochs=1`.
    overrides: Vec<String>,
    /// The folder for the runs and the tables (default: runs/NAME).
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &Args) -> Exit {
    let sweep = load(&args.file, &args.overrides)?.pipeline;
    if sweep.sweep.is_empty() {
        let file = args.file.display();
        return Err(Error::new(format!("{file} has no `sweep`")).help(format!(
            "train it: foil train {file}; or sweep a key: foil sweep {file} 'sweep={{ KEY: [1, 2] }}'"
        )));
    }
    let name = sweep.name.as_deref().unwrap_or("sweep");
    let dir = args.dir.clone().unwrap_or_else(|| Path::new("runs").join(name));
    let files = [args.file.clone()];
    let job =
        Job { command: "sweep", files: &files, overrides: &args.overrides, dir: &dir, out: &dir, crew: ranks::crew()? };
    carry_out(&job, &args.options)
}
