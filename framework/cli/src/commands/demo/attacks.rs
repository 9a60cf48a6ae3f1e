//! The demo's evaluations: AutoAttack takes most of its time, so networks are attacked side by
//! side, each by a process of its own with a share of the cores.

use foil::{Error, Result, program};
use foil_runs::record::EvalRecord;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// At most this many at a time.
const WORKERS: usize = 4;

/// Evaluates the runs, those that take longest first: they come last. Returns their records in
/// order.
///
/// # Errors
/// What the first evaluation that failed said.
pub(super) fn all(runs: &[PathBuf], overrides: &[String]) -> Result<Vec<EvalRecord>> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = cores.min(WORKERS).min(runs.len()).max(1);
    let (next, failed) = (AtomicUsize::new(runs.len()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let take = |n: usize| n.checked_sub(1);
                while let Ok(n) = next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
                    if let Err(error) = one(&runs[n - 1], overrides, cores / workers) {
                        next.store(0, Ordering::SeqCst);
                        failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => runs.iter().map(|run| EvalRecord::load(record(run)).map_err(Error::of)).collect(),
    }
}

fn record(run: &Path) -> PathBuf {
    run.join("eval.json")
}

/// `foil eval` in a process of its own, and a line when it is done.
fn one(run: &Path, overrides: &[String], threads: usize) -> Result<()> {
    let mut command = program::command()?;
    command.arg("eval").arg(run).args(overrides).arg("--out").arg(record(run));
    command.env("OMP_NUM_THREADS", threads.max(1).to_string()).stdin(Stdio::null()).stdout(Stdio::null());
    let ended = command.stderr(Stdio::piped()).output().map_err(Error::of)?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let error = said.find("error: ").map_or("it was stopped", |at| &said[at + "error: ".len()..]);
        return Err(Error::new(error.trim()).context(format!("evaluating {}", run.display())));
    }
    let found = EvalRecord::load(record(run)).map_err(Error::of)?;
    let accuracies = found.entries.iter().map(|entry| format!("{} {:.1} %", entry.name, entry.accuracy));
    eprintln!("{}: {}", found.model, accuracies.collect::<Vec<_>>().join(", "));
    Ok(())
}
