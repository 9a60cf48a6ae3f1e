//! A heartbeat while a run trains, for other processes to read.

use super::Folder;
use crate::eval::UnderWay;
use crate::record::Values;
use crate::record::metrics::row;
use foil::atomic;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A run's progress, as in `heartbeat.json` in its folder. The file exists only while the run
/// trains, or after it was killed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// The process that trains.
    pub pid: u32,
    /// The device, such as `cpu` or `cuda(0)`.
    pub device: String,
    /// The current epoch, from 1.
    pub epoch: u64,
    /// The total number of epochs.
    pub epochs: u64,
    /// Steps done in it.
    pub step: u64,
    /// Steps of an epoch.
    pub steps: u64,
    /// Whether the steps are done and the epoch's accuracies are being measured.
    pub measuring: bool,
    /// The progress of the measurement.
    #[serde(default)]
    pub under_way: Option<UnderWay>,
    /// Means over the epoch so far: the loss, its parts, and the training accuracies.
    #[serde(serialize_with = "row::write", deserialize_with = "row::read")]
    pub values: Values,
    /// Seconds until the last epoch is done, at the pace since this process started; `None` before
    /// its second step.
    pub seconds_left: Option<f64>,
}

/// Writes beats, rarely enough to cost nothing, and removes the file at the end.
#[derive(Debug)]
pub struct Heartbeat {
    path: PathBuf,
    every: Duration,
    written: Option<Instant>,
    started: Instant,
    /// Steps of the whole run that were done when this process started.
    before: Option<u64>,
}

impl Beat {
    /// The last beat of the run in `folder`, if there is one.
    pub fn load(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&foil::regular::read(file(folder), foil::regular::TEXT).ok()?).ok()
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("heartbeat.json")
}

impl Heartbeat {
    /// For the run in `folder`, with a beat at most every `every`.
    pub fn new(folder: &Folder, every: Duration) -> Self {
        Self { path: file(folder.path()), every, written: None, started: Instant::now(), before: None }
    }

    /// Whether the next beat is due. Making one may wait for the device.
    pub fn due(&self) -> bool {
        self.written.is_none_or(|written| written.elapsed() >= self.every)
    }

    /// Writes `beat`, its time left filled in. Failing to write the file does not stop the run.
    pub fn write(&mut self, mut beat: Beat) {
        let done = (beat.epoch.saturating_sub(1)) * beat.steps + beat.step;
        let before = *self.before.get_or_insert(done);
        let left = (beat.epochs * beat.steps).saturating_sub(done);
        if done > before {
            beat.seconds_left = Some(self.started.elapsed().as_secs_f64() * left as f64 / (done - before) as f64);
        }
        // Replaced by a rename, so that readers never see half of it; not synced, since it is
        // useless after a power cut.
        let unfinished = self.path.with_extension("json.tmp");
        let _ = serde_json::to_vec(&beat)
            .map_err(std::io::Error::other)
            .and_then(|bytes| {
                let mut file = atomic::options().create(true).truncate(true).write(true).open(&unfinished)?;
                file.write_all(&bytes)
            })
            .and_then(|()| std::fs::rename(&unfinished, &self.path));
        self.written = Some(Instant::now());
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if self.written.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_there_while_the_run_is() {
        let place = tempfile::tempdir().unwrap();
        let (folder, _lock) = Folder::create(&place.path().join("run")).unwrap();
        let mut heartbeat = Heartbeat::new(&folder, Duration::from_secs(3600));
        assert!(heartbeat.due() && Beat::load(folder.path()).is_none());
        let beat = |step| Beat {
            epoch: 2,
            epochs: 4,
            step,
            steps: 10,
            values: [("train_loss".to_string(), f64::NAN)].into(),
            ..Beat::default()
        };
        heartbeat.write(beat(5));
        assert!(!heartbeat.due());
        assert_eq!(Beat::load(folder.path()).unwrap().seconds_left, None, "one step tells no pace");
        heartbeat.started -= Duration::from_secs(10);
        heartbeat.write(beat(10));
        let read = Beat::load(folder.path()).unwrap();
        // Five steps in ten seconds, and twenty to go.
        assert!((read.seconds_left.unwrap() - 40.0).abs() < 1.0 && read.values["train_loss"].is_nan(), "{read:?}");
        drop(heartbeat);
        assert!(Beat::load(folder.path()).is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the lock alone is left");
    }
}
