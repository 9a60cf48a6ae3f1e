//! A run's folder, and what is stored in it so that the run can go on.

use crate::record::{Best, ModelCard, atomic};
use crate::tensors::{self, Named};
use crate::{AtPath, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// The folder of one run.
///
/// `resolved.yaml` is the pipeline, `metrics.jsonl`, `metrics.csv` and `events.out.tfevents.*` its curves, `best.safetensors` and
/// `last.safetensors` its weights under PyTorch's names with a model card, `best_mask.safetensors` CAT's mask network, `state.safetensors` what resuming needs,
/// `log.txt` what happened; `run.lock` is locked while a process trains in it.
#[derive(Debug, Clone, Default)]
pub struct Folder(PathBuf);

/// Where a run was when its state was saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Epochs done.
    pub epoch: u64,
    /// Steps done in the epoch under way.
    pub step: u64,
    /// Images in the tally of the epoch under way.
    pub tallied: i64,
    /// The best checkpoint so far.
    pub best: Best,
}

const POSITION: &str = "foil.position";

impl Folder {
    /// A new folder for a run.
    ///
    /// # Errors
    /// When it exists and holds something, or cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        if path.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::new(format!("the run folder {} is not empty", path.display())).help(format!(
                "go on with it: foil train --resume {}; or choose another: --run-dir DIR",
                path.display()
            )));
        }
        std::fs::create_dir_all(path).at("making", path)?;
        Ok(Self(path.to_path_buf()))
    }

    /// The folder of an earlier run.
    ///
    /// # Errors
    /// When there is no run in it.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = Self(path.to_path_buf());
        if folder.resolved().exists() {
            return Ok(folder);
        }
        Err(Error::new(format!("{} is not a run folder: it has no resolved.yaml", path.display()))
            .help("runs are in runs/ unless --run-dir says otherwise"))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The pipeline as it ran.
    pub fn resolved(&self) -> PathBuf {
        self.0.join("resolved.yaml")
    }

    /// The weights that the selection rule chose.
    pub fn best(&self) -> PathBuf {
        self.0.join("best.safetensors")
    }

    /// The mask network's weights at the best checkpoint, for an attack that has one.
    pub fn best_mask(&self) -> PathBuf {
        self.0.join("best_mask.safetensors")
    }

    /// The weights after the last epoch that finished.
    pub fn last(&self) -> PathBuf {
        self.0.join("last.safetensors")
    }

    /// What resuming needs.
    pub fn state(&self) -> PathBuf {
        self.0.join("state.safetensors")
    }

    /// What happened.
    pub fn log(&self) -> PathBuf {
        self.0.join("log.txt")
    }

    /// Keeps other processes from training in this folder as long as the file that is returned lives.
    pub(super) fn lock(&self) -> Result<File> {
        let path = self.0.join("run.lock");
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).at("opening", &path)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            return Err(Error::new(format!("another process ({}) is training in {}", holder.trim(), self.0.display()))
                .help("wait until it is done, or end it with Ctrl-C; `foil eval` may run beside it"));
        }
        // Some network file systems have no locks; there the user is the lock. The text is for the message above.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "pid {}", std::process::id()));
        Ok(file)
    }

    /// Removes what earlier processes were writing when they were killed; the folder must be locked.
    pub(super) fn sweep(&self) {
        let metrics = ["metrics.jsonl", "metrics.csv"].map(|name| self.0.join(name));
        let files = [self.resolved(), self.best(), self.best_mask(), self.last(), self.state()];
        files.iter().chain(&metrics).for_each(atomic::sweep);
    }

    pub(super) fn write_model(&self, path: &Path, weights: &[(String, Tensor)], card: &ModelCard) -> Result<()> {
        let metadata = card.to_metadata().map_err(|e| Error::new(e.to_string()))?;
        tensors::write(path, weights, metadata)
    }

    pub(super) fn write_state(&self, tensors: &[(String, Tensor)], position: &Position) -> Result<()> {
        let text = serde_json::to_string(position).at("writing", &self.state())?;
        tensors::write(&self.state(), tensors, HashMap::from([(POSITION.to_string(), text)]))
    }

    /// The saved state; `None` when the run was stopped before it had saved one.
    pub(super) fn read_state(&self) -> Result<Option<(Named, Position)>> {
        let path = self.state();
        if !path.exists() {
            return Ok(None);
        }
        let read = || {
            let (tensors, metadata) = tensors::read(&path)?;
            let text = metadata
                .get(POSITION)
                .ok_or_else(|| Error::new(format!("{} is not the state of a run", path.display())))?;
            Ok((tensors, serde_json::from_str(text).at("reading", &path)?))
        };
        read().map(Some).map_err(|error: Error| {
            error.help(format!(
                "put a good copy back, or begin anew with --run-dir; the best checkpoint stands: foil eval {}",
                self.0.display()
            ))
        })
    }
}
