//! Signals that end a command after saving its work.

use foil::{Error, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::{Handle, Signals};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The exit code of a command that a signal ended, as of one that Ctrl-C ends.
const ENDED: i32 = 130;
/// A terminal that closes hangs up twice within this time: the system does, and the shell.
const ECHO: Duration = Duration::from_secs(1);

/// Ctrl-C, `kill`, a terminal that closes, and the warning that `sbatch --signal=USR1@60` asks
/// Slurm for. Under `nohup` a closed terminal is ignored.
fn ending() -> Result<Signals> {
    let catches = |signal: &i32| *signal != SIGHUP || !is_ignored(SIGHUP);
    let signals: Vec<i32> = [SIGINT, SIGTERM, SIGHUP, SIGUSR1].into_iter().filter(catches).collect();
    Signals::new(signals).map_err(|e| Error::new(format!("Ctrl-C cannot be handled: {e}")))
}

/// Whether this process was started with `signal` ignored, if the system reports that.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// A file that grows beyond `ulimit -f` is an error of the write, as on a full disk, and does not
/// end the program.
pub(super) fn report_full_files() {
    // If it cannot be set, the system ends the program, as it does by default.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// Set by the first signal; the second one ends the program at once.
pub(super) fn on_interrupt() -> Result<Arc<AtomicBool>> {
    let (stop, mut signals) = (Arc::new(AtomicBool::new(false)), ending()?);
    let set = Arc::clone(&stop);
    std::thread::spawn(move || {
        let mut hung_up: Option<Instant> = None;
        for signal in signals.forever() {
            let echo = signal == SIGHUP && hung_up.is_some_and(|at| at.elapsed() < ECHO);
            if set.swap(true, Ordering::SeqCst) && !echo {
                signal_hook::low_level::exit(ENDED);
            }
            if signal == SIGHUP {
                hung_up.get_or_insert_with(Instant::now);
            }
        }
    });
    Ok(stop)
}

/// While it lives, the first signal ends the program at once, and says how to resume: a batch may
/// take minutes, and what came before it is on disk.
pub(super) struct AtOnce {
    handle: Handle,
    /// Returns the signals, so that their socket stays open while this may write to it: a write to
    /// a closed socket is a SIGPIPE, which ends the program.
    _listener: JoinHandle<Signals>,
}

impl AtOnce {
    /// For the evaluation of the checkpoint at `path`.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let mut signals = ending()?;
        let (handle, path) = (signals.handle(), path.display().to_string());
        let listener = std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                // The terminal itself may be closed.
                let text =
                    format!("\nstopped; run the same command to resume (this evaluation alone: foil eval {path})");
                let _ = writeln!(std::io::stderr(), "{}", super::as_typed::as_typed(&text));
                signal_hook::low_level::exit(ENDED);
            }
            signals
        });
        Ok(Self { handle, _listener: listener })
    }
}

impl Drop for AtOnce {
    fn drop(&mut self) {
        self.handle.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::SIGPIPE;

    #[test]
    fn the_end_of_an_evaluation_writes_to_no_closed_socket() {
        let broken = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGPIPE, Arc::clone(&broken)).unwrap();
        let at_once = AtOnce::new(Path::new("best.safetensors")).unwrap();
        // The thread ends before it is told to, as may happen when processors are busy.
        at_once.handle.close();
        while !at_once._listener.is_finished() {
            std::thread::yield_now();
        }
        drop(at_once);
        assert!(!broken.load(Ordering::SeqCst), "SIGPIPE, which ends `foil eval`");
    }
}
