//! A run's folder, and what is stored in it so that the run can be resumed.

use crate::interop::METHOD;
use crate::record::{Best, ModelCard};
use crate::train::writer::TensorFile;
use foil::atomic;
use foil::error::ErrorKind;
use foil::tensors::{self, Named};
use foil::{AtPath, Error, Result, regular};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tch::Tensor;

/// The folder of one run.
///
/// `resolved.yaml` is the pipeline, `metrics.jsonl`, `metrics.csv` and `events.out.tfevents.*` its
/// curves, `best.safetensors` and `last.safetensors` its weights under PyTorch's names with a model
/// card, `best_mask.safetensors` CAT's mask network, `state.safetensors` what resuming needs,
/// `extra_labels.safetensors` the labels of extra images,
/// `log.txt` what happened; `run.lock` is locked while a process trains in it, `work.lock` while
/// one of several that share a list of runs has it, and `failed.txt` is what such a one says of a
/// run that failed.
#[derive(Debug, Clone, Default)]
pub struct Folder(PathBuf);

/// While it lives, no other process trains in the folder.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file unlocks it")] File);

/// Where a run was when its state was saved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The hash of the pipeline that was trained so far; empty before the first step.
    pub config: String,
    /// Epochs done.
    pub epoch: u64,
    /// Steps done in the current epoch.
    pub step: u64,
    /// Images in the epoch_sums of the current epoch.
    pub tallied: i64,
    /// The best checkpoint so far.
    pub best: Best,
    /// [`digest`](crate::record::metrics::digest) of the rows of the epochs that are done.
    #[serde(default)]
    pub metrics: String,
}

/// What a saved state says of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Epochs that are done and saved.
    pub epochs: u64,
    /// [`digest`](crate::record::metrics::digest) of their rows; empty where it is not said.
    pub metrics: String,
}

const POSITION: &str = "foil.position";
const LOCK: &str = "run.lock";
const CLAIM: &str = "work.lock";

impl Folder {
    /// The folder for ranks other than the first, which only use its name.
    pub fn named(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    /// A new folder for a run, locked before anything is written.
    ///
    /// # Errors
    /// When it exists and is not empty, another process has just made it, or it cannot be made.
    pub fn create(path: &Path) -> Result<(Self, Lock)> {
        let folder = Self(path.to_path_buf());
        folder.require_empty()?;
        std::fs::create_dir_all(path).at("making", path)?;
        let lock = folder.lock()?;
        // Another run may have started and ended since.
        folder.require_empty()?;
        Ok((folder, lock))
    }

    fn require_empty(&self) -> Result<()> {
        let path = self.0.display();
        let entries = self.0.read_dir().into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name());
        // A process that was killed while it made the folder leaves no run.
        let begun = |name: &OsString| name == LOCK || name == CLAIM || atomic::is_unfinished(name, &self.resolved());
        if names.any(|name| !begun(&name)) {
            let help = format!("resume it: foil train --resume {path}; or choose another: --run-dir DIR");
            return Err(Error::new(format!("the run folder {path} is not empty")).help(help));
        }
        Ok(())
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
        let what = if path.exists() { "is not a run folder: it has no resolved.yaml" } else { "does not exist" };
        Err(Error::new(format!("{} {what}", path.display())).help("runs are in runs/ unless --run-dir was given"))
    }

    /// Where the weights came from, if `foil import` put them here rather than training: then
    /// there is nothing to resume.
    ///
    /// # Errors
    /// When the weights cannot be read.
    pub fn imported(&self) -> Result<Option<String>> {
        if self.state().exists() || !self.best().exists() {
            return Ok(None);
        }
        let method = tensors::metadata(&self.best())?.remove("foil.method");
        Ok(method.filter(|method| method.starts_with(METHOD)))
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

    /// The weights of the average called `name` at the best checkpoint.
    pub fn best_average(&self, name: &str) -> PathBuf {
        self.0.join(format!("best_{name}.safetensors"))
    }

    /// The weights of the average called `name` after the last epoch that finished.
    pub fn last_average(&self, name: &str) -> PathBuf {
        self.0.join(format!("last_{name}.safetensors"))
    }

    /// The mask network's weights at the best checkpoint, for an attack that has one.
    pub fn best_mask(&self) -> PathBuf {
        self.0.join("best_mask.safetensors")
    }

    /// The weights after the last epoch that finished.
    pub fn last(&self) -> PathBuf {
        self.0.join("last.safetensors")
    }

    /// What [`Folder::extra_labels`] is called.
    pub const EXTRA_LABELS: &str = "extra_labels.safetensors";

    /// The labels that a network gave to the run's extra images.
    pub fn extra_labels(&self) -> PathBuf {
        self.0.join(Self::EXTRA_LABELS)
    }

    /// What resuming needs.
    pub fn state(&self) -> PathBuf {
        self.0.join("state.safetensors")
    }

    /// What happened.
    pub fn log(&self) -> PathBuf {
        self.0.join("log.txt")
    }

    /// Keeps other processes from training in this folder.
    ///
    /// # Errors
    /// When another process does.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.0.join(LOCK);
        let mut file =
            atomic::options().create(true).truncate(false).read(true).write(true).open(&path).at("opening", &path)?;
        // A process that only checks the lock holds it for a moment.
        let mut tries = (0..10).map(|_| file.try_lock()).inspect(|tried| {
            if tried.is_err() {
                std::thread::sleep(Duration::from_millis(30));
            }
        });
        if tries.all(|tried| matches!(tried, Err(TryLockError::WouldBlock))) {
            let holder = regular::read_to_string(&path, regular::TEXT).unwrap_or_default();
            return Err(Error::new(format!("another process ({}) is training in {}", holder.trim(), self.0.display()))
                .of_kind(ErrorKind::InUse)
                .help("wait until it is done, or end it with Ctrl-C; `foil eval` may run beside it"));
        }
        // Some network file systems have no locks; there the user must take care. The text is for
        // the message above.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "pid {}", std::process::id()));
        Ok(Lock(file))
    }

    /// Claims the run for one of several processes that share a list of runs, from before it is
    /// made until after it is evaluated; `None` if another process has it. The process that trains
    /// also takes [`Folder::lock`].
    ///
    /// # Errors
    /// When the file system has no locks, or the folder cannot be made.
    pub fn claim(&self) -> Result<Option<Lock>> {
        std::fs::create_dir_all(&self.0).at("making", &self.0)?;
        let path = self.0.join(CLAIM);
        let mut options = atomic::options();
        let mut file = options.create(true).truncate(false).read(true).write(true).open(&path).at("opening", &path)?;
        match file.try_lock() {
            Ok(()) => {
                let _ = file.set_len(0).and_then(|()| writeln!(file, "pid {}", std::process::id()));
                Ok(Some(Lock(file)))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::new(format!("{} cannot be locked: {error}", path.display()))
                .help("processes share runs by the locks of files: choose a file system that has them with --dir, or --slurm")),
        }
    }

    /// The process that trains in this folder or has claimed it, as `pid 4711`; `None` if there is
    /// none.
    pub fn holder(&self) -> Option<String> {
        [LOCK, CLAIM].into_iter().find_map(|name| self.holder_of(name))
    }

    fn holder_of(&self, name: &str) -> Option<String> {
        let path = self.0.join(name);
        let file = atomic::options().read(true).write(true).open(&path).ok()?;
        let held = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        held.then(|| regular::read_to_string(&path, regular::TEXT).unwrap_or_default().trim().to_string())
    }

    /// Removes what earlier processes were writing when they were killed.
    pub fn sweep(&self) {
        atomic::sweep_folder(&self.0);
    }

    /// Weights with their card, to be written later, whole or not at all.
    pub(super) fn draft_of_model(
        &self,
        path: PathBuf,
        tensors: Vec<(String, Tensor)>,
        card: &ModelCard,
    ) -> Result<TensorFile> {
        let metadata = card.to_metadata().at("writing", &path)?;
        Ok(TensorFile { path, tensors, metadata })
    }

    /// What resuming needs, to be written later.
    pub(super) fn draft_of_state(&self, tensors: Vec<(String, Tensor)>, position: &Position) -> Result<TensorFile> {
        let (path, text) = (self.state(), serde_json::to_string(position));
        let metadata = HashMap::from([(POSITION.to_string(), text.at("writing", &path)?)]);
        Ok(TensorFile { path, tensors, metadata })
    }

    /// What is done and saved; `None` if no state was saved yet.
    ///
    /// # Errors
    /// When the state file cannot be read.
    pub fn done(&self) -> Result<Option<Done>> {
        let path = self.state();
        if !path.exists() {
            return Ok(None);
        }
        let Position { epoch, metrics, .. } = position(&path, &tensors::metadata(&path)?)?;
        Ok(Some(Done { epochs: epoch, metrics }))
    }

    /// The saved state; `None` when the run was stopped before it had saved one.
    pub(super) fn read_state(&self) -> Result<Option<(Named, Position)>> {
        let path = self.state();
        if !path.exists() {
            return Ok(None);
        }
        let read = || {
            let (tensors, metadata) = tensors::read(&path)?;
            Ok((tensors, position(&path, &metadata)?))
        };
        read().map(Some).map_err(|error: Error| {
            error.help(format!(
                "restore a good copy, or start over with --run-dir; the best checkpoint is intact: foil eval {}",
                self.0.display()
            ))
        })
    }
}

/// Where the run was, from the `metadata` of the state at `path`.
fn position(path: &Path, metadata: &HashMap<String, String>) -> Result<Position> {
    let text = metadata.get(POSITION);
    let text = text.ok_or_else(|| Error::new(format!("{} is not the state of a run", path.display())))?;
    serde_json::from_str(text).at("reading", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_runs_that_make_the_same_folder_one_gets_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("run");
        let (folder, lock) = Folder::create(&path).unwrap();
        let error = Folder::create(&path).unwrap_err();
        assert!(error.message().starts_with("another process (pid "), "{error}");
        // A process that ended before it wrote anything leaves the folder free.
        drop(lock);
        // So does one that was killed while writing.
        std::fs::write(path.join(".resolved.yaml.1.0.tmp"), "data:").unwrap();
        let (_, lock) = Folder::create(&path).unwrap();
        std::fs::write(folder.resolved(), "").unwrap();
        drop(lock);
        assert!(Folder::create(&path).unwrap_err().message().ends_with("run is not empty"));
    }

    #[test]
    fn a_run_is_claimed_by_one_before_it_is_made() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::named(&place.path().join("run"));
        assert_eq!(folder.holder(), None);
        let claim = folder.claim().unwrap().unwrap();
        assert!(folder.claim().unwrap().is_none());
        assert_eq!(folder.holder(), Some(format!("pid {}", std::process::id())));
        // The process that has the claim makes the run there.
        let (_, lock) = Folder::create(folder.path()).unwrap();
        drop((claim, lock));
        assert!(folder.claim().unwrap().is_some());
    }
}
