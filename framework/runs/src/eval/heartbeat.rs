//! A heartbeat while a run is evaluated, which also shows whether the process that wrote it is
//! still alive.

use super::UnderWay;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An evaluation's progress, as in `eval.heartbeat.json` in the run's folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvalHeartbeat {
    /// The process that evaluates.
    pub pid: u32,
    /// The device, such as `cpu` or `cuda(0)`.
    pub device: String,
    /// The current attack; `None` before the first batch.
    pub under_way: Option<UnderWay>,
}

/// Writes pulses, rarely enough to cost nothing, and removes the file at the end. The file is
/// locked while the process lives, so that readers recognise one that a killed process left.
#[derive(Debug)]
pub struct HeartbeatFile {
    path: PathBuf,
    file: Option<File>,
    pulse: EvalHeartbeat,
    written: Option<Instant>,
    /// Bytes in the file.
    length: usize,
}

/// How often at most.
const EVERY: Duration = Duration::from_secs(1);

impl EvalHeartbeat {
    /// The last pulse of the process that evaluates the run in `folder`; `None` if there is none,
    /// or while it is being written.
    pub fn load(folder: &Path) -> Option<Self> {
        let path = file(folder);
        let open = foil::regular::open(&path).ok()?;
        let alive = matches!(open.try_lock_shared(), Err(TryLockError::WouldBlock));
        serde_json::from_slice(&foil::regular::read(&path, foil::regular::TEXT).ok().filter(|_| alive)?).ok()
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("eval.heartbeat.json")
}

impl HeartbeatFile {
    /// For the run in `folder`, evaluated on `device`. Nothing is written if another process is
    /// already evaluating it, or if the folder is not writable: an evaluation does not depend on
    /// being watched.
    pub fn new(folder: &Path, device: String) -> Self {
        let path = file(folder);
        let open = foil::atomic::options().create(true).truncate(false).read(true).write(true).open(&path).ok();
        let file = open.filter(|file| file.try_lock().is_ok());
        let length = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |known| known.len() as usize);
        let pulse = EvalHeartbeat { pid: std::process::id(), device, under_way: None };
        let mut beating = Self { path, file, pulse, written: None, length };
        beating.write();
        beating
    }

    /// Writes the progress if it is due.
    pub fn tick(&mut self, under_way: impl FnOnce() -> UnderWay) {
        if self.written.is_none_or(|written| written.elapsed() >= EVERY) {
            self.say(under_way());
        }
    }

    /// Writes the progress at once.
    pub fn say(&mut self, under_way: UnderWay) {
        self.pulse.under_way = Some(under_way);
        self.write();
    }

    /// Overwrites the file in place, because the lock belongs to it. Spaces cover the rest of a
    /// longer text.
    fn write(&mut self) {
        let (Some(file), Ok(mut text)) = (&self.file, serde_json::to_string(&self.pulse)) else { return };
        text.extend(std::iter::repeat_n(' ', self.length.saturating_sub(text.len())));
        self.length = text.len();
        let _ = file.write_all_at(text.as_bytes(), 0); // a failed write does not stop the evaluation
        self.written = Some(Instant::now());
    }
}

impl Drop for HeartbeatFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_there_while_its_process_is() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        assert_eq!(EvalHeartbeat::load(folder), None);
        let mut beating = HeartbeatFile::new(folder, "cpu".into());
        assert_eq!(EvalHeartbeat::load(folder).unwrap().under_way, None);
        let at = |done| UnderWay { attack: "pgd20".into(), number: 1, of: 2, done, images: 100, ..UnderWay::default() };
        beating.tick(|| unreachable!("the first is not a second old"));
        beating.say(UnderWay { stage: Some("a long name".into()), ..at(9) });
        beating.written = None;
        beating.tick(|| at(10));
        let pulse = EvalHeartbeat::load(folder).unwrap();
        assert_eq!((pulse.pid, pulse.under_way.unwrap()), (std::process::id(), at(10)));
        // A second process on the same run leaves the first one's file alone.
        drop(HeartbeatFile::new(folder, "cpu".into()));
        assert!(EvalHeartbeat::load(folder).is_some());
        drop(beating);
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
        // The file that a killed process left is not locked, and the next process takes it over.
        std::fs::write(file(folder), "x".repeat(1000)).unwrap();
        assert_eq!(EvalHeartbeat::load(folder), None);
        let _beating = HeartbeatFile::new(folder, "cpu".into());
        assert!(EvalHeartbeat::load(folder).is_some());
    }

    #[test]
    fn an_attack_in_words() {
        let square = UnderWay {
            attack: "autoattack".into(),
            number: 2,
            of: 3,
            stage: Some("square".into()),
            done: 128,
            images: 812,
            accuracy: 51.2,
        };
        assert_eq!(square.to_string(), "attack 2 of 3: autoattack square, 128 of 812 images, accuracy 51.20 %");
    }
}
