//! `foil sweep`: every run of a sweep file, one after another, in one table.

use super::Exit;
use super::eval::{self, table};
use super::train::{Place, on_interrupt, train};
use crate::pipeline::{Combination, Loaded, from_resolved, load};
use crate::record::{EvalRecord, atomic};
use crate::report::Style;
use crate::train::{Ended, Folder};
use crate::{AtPath, Error, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Train and evaluate every combination of the values under a file's `sweep`, and compare them in one table.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil sweep configs/sweeps/table8_beta.yaml
  foil sweep configs/sweeps/table8_beta.yaml train.epochs=20 --dir runs/short
  foil sweep configs/demo/trades.yaml 'sweep={ loss.beta: [1, 3, 6] }'      any file becomes a sweep

The same command again goes on where the last one stopped; finished runs are not trained again.")]
pub(super) struct Args {
    /// A pipeline file with `sweep: { KEY: [VALUE, …] }`.
    file: PathBuf,
    /// Overrides for all runs, such as `train.epochs=1`.
    overrides: Vec<String>,
    /// Where the runs and the table go; by default runs/NAME.
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    let sweep = load(&args.file, &args.overrides)?;
    let combinations = sweep.built(sweep.pipeline.combinations(&args.overrides))?;
    if combinations.is_empty() {
        let file = args.file.display();
        return Err(Error::new(format!("{file} has no `sweep`")).help(format!(
            "train it: foil train {file}; or sweep a key: foil sweep {file} 'sweep={{ KEY: [1, 2] }}'"
        )));
    }
    // Each is read before the first is trained, since an error in the last one would come hours later.
    let read = |run: &Combination| Ok((run.label.clone(), run.load(&args.file, &args.overrides)?));
    let runs: Vec<(String, Loaded)> = combinations.iter().map(read).collect::<Result<_>>()?;
    let name = sweep.pipeline.name.as_deref().unwrap_or("sweep");
    let dir = args.dir.clone().unwrap_or_else(|| Path::new("runs").join(name));

    let stop = on_interrupt()?;
    let (mut records, mut failed) = (Vec::new(), 0);
    for (n, (label, loaded)) in runs.iter().enumerate() {
        eprintln!("run {} of {}: {label}", n + 1, runs.len());
        match one(loaded, &dir.join(label), &stop) {
            Ok(Some(record)) => records.push(record),
            Ok(None) => {
                eprintln!("stopped and saved; the same command goes on from here");
                return Ok(ExitCode::from(130));
            }
            // The others may still be wanted: a radius that is too large must not hide the rest.
            Err(error) => {
                failed += 1;
                eprintln!("{error}");
            }
        }
        eprintln!();
    }

    let table = table(&records);
    let file = dir.join("table.md");
    std::fs::create_dir_all(&dir).at("making", &dir)?;
    atomic::write(&file, table.markdown()).at("writing", &file)?;
    println!("{}", table.terminal(Style::stdout()));
    println!("{} of {} runs, table: {}", records.len(), runs.len(), file.display());
    if failed > 0 {
        eprintln!("{failed} of {} runs failed; the same command tries them again", runs.len());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The record of one run, trained and evaluated as far as that was not done before; none when `stop` was set.
fn one(loaded: &Loaded, path: &Path, stop: &AtomicBool) -> Result<Option<EvalRecord>> {
    let place = match Folder::open(path) {
        Err(_) => Place::New(path.to_path_buf()),
        Ok(folder) => {
            if from_resolved(&folder.resolved())?.to_yaml()? != loaded.pipeline.to_yaml()? {
                return Err(Error::new(format!("{} holds a run with other settings", path.display()))
                    .help("choose another folder with --dir, or remove that one"));
            }
            let record = path.join("eval.json");
            if record.exists() {
                eprintln!("done before: {}", record.display());
                return EvalRecord::load(&record).map(Some).map_err(|error| Error::new(error.to_string()));
            }
            Place::Old(folder)
        }
    };
    if train(loaded, place, stop)?.1 == Ended::Stopped || stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    Ok(Some(eval::evaluate(path, &eval::Options::default())?.0))
}
