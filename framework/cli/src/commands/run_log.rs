//! The log in a run's folder.

use super::warnings;
use foil::plugin;
use foil::{AtPath, Result};
use foil_runs::train::Folder;
use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use tracing_subscriber::prelude::*;

/// The log of the current run: a program may make several runs, but sets up its logging once.
static LOG: Mutex<Option<File>> = Mutex::new(None);

struct RunLog;

impl Write for RunLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        log.as_ref().map_or(Ok(bytes.len()), |mut file| file.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Redirects the log to this run's folder; warnings are also shown.
pub(super) fn start(folder: &Folder) -> Result<()> {
    let path = folder.log();
    let file = foil::atomic::options().create(true).append(true).open(&path).at("opening", &path)?;
    *LOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    let filter = || tracing_subscriber::EnvFilter::try_from_env("FOIL_LOG").unwrap_or_else(|_| "info".into());
    let in_file = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| RunLog).with_filter(filter());
    // From the second run on, logging is already set up.
    let _ = tracing_subscriber::registry().with(in_file).with(warnings()).try_init();
    plugin::log_started();
    Ok(())
}
