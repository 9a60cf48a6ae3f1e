//! One event file of one process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use super::event::{What, encode};
use super::record::frame;
use super::{Png, hparams};
use foil::atomic;
use serde_json::Value;

const PREFIX: &str = "events.out.tfevents.";

/// Writes scalars, images and hyper-parameters for TensorBoard into a run folder.
///
/// Each process that works on a run writes a file of its own,
/// `events.out.tfevents.SECONDS.HOST.PID.foil`; TensorBoard reads them in the order of their names.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Starts a file in `folder` for a process that resumes the run after `done` model updates, 0
    /// in a new run. TensorBoard then discards later steps of earlier files.
    ///
    /// # Errors
    /// The system's error, with the file's name, when the folder cannot be read or the file cannot
    /// be made.
    pub fn create(folder: impl AsRef<Path>, done: u64) -> io::Result<Self> {
        let folder = folder.as_ref();
        let newest = newest(folder).map_err(|error| atomic::at(folder, error))?;
        // Sorted after the newest file, even when the clock was set back or a killed run is
        // resumed within a second.
        let seconds = (now() as u64).max(newest.map_or(0, |seconds| seconds.saturating_add(1)));
        let path = folder.join(format!("{PREFIX}{seconds:010}.{}.{}.foil", host(), process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut writer = EventWriter { file: file.map_err(|error| atomic::at(&path, error))?, path };
        writer.write(0, What::Version)?;
        // The reader drops this step and those after it. Its slower loader takes a run's first
        // START as the beginning and acts only on the second, so a new run writes it too.
        writer.write(done.saturating_add(1), What::Start)?;
        Ok(writer)
    }

    /// Writes one value for each tag at `step` (model updates). When this returns, a TensorBoard
    /// that watches the folder can read them.
    ///
    /// # Errors
    /// The system's error with the file's name. A record cut short ends the file for its reader,
    /// so the writer should not be used after that.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> io::Result<()> {
        self.write(step, What::Scalars(values))
    }

    /// Writes the image of a tag at `step`.
    ///
    /// # Errors
    /// As [`EventWriter::scalars`].
    pub fn image(&mut self, step: u64, tag: &str, png: &Png) -> io::Result<()> {
        self.write(step, What::Image(tag, png))
    }

    /// Writes the run's hyper-parameters, and the tags of the scalars that TensorBoard compares
    /// them by.
    ///
    /// # Errors
    /// As [`EventWriter::scalars`].
    pub fn hyper_parameters(&mut self, values: &[(String, Value)], metrics: &[String]) -> io::Result<()> {
        self.write(0, What::Hparams(&hparams::started(values, metrics, now())))
    }

    /// Says that the run is done.
    ///
    /// # Errors
    /// As [`EventWriter::scalars`].
    pub fn done(&mut self) -> io::Result<()> {
        self.write(0, What::Hparams(&[hparams::ended(now())]))
    }

    fn write(&mut self, step: u64, what: What) -> io::Result<()> {
        let mut record = Vec::new();
        frame(&mut record, &encode(now(), step, what));
        self.file.write_all(&record).map_err(|error| atomic::at(&self.path, error))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The latest start time in a file name in `folder`, in seconds since 1970.
fn newest(folder: &Path) -> io::Result<Option<u64>> {
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let seconds = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
        newest = newest.max(seconds);
    }
    Ok(newest)
}

/// This machine's name, reduced to characters that suit a file name; `localhost` if it is unknown.
fn host() -> String {
    let name =
        fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_default();
    let name: String =
        name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
    if name.is_empty() { "localhost".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_run_gets_a_later_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = EventWriter::create(folder.path(), 0).unwrap();
        first.scalars(391, &[("loss", 0.5), ("natural", 83.25)]).unwrap();
        let second = EventWriter::create(folder.path(), 391).unwrap();
        assert!(first.path < second.path);
        let name = first.path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(PREFIX) && name.ends_with(&format!(".{}.foil", process::id())), "{name}");
    }

    /// Walks the records by their lengths: a version, then the requested records, and no byte left
    /// over.
    #[test]
    fn the_file_is_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), 391).unwrap();
        writer.scalars(782, &[("loss", f64::NAN)]).unwrap();
        let bytes = fs::read(&writer.path).unwrap();
        let (mut at, mut records) = (0, Vec::new());
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            records.push(&bytes[at + 12..at + 12 + length]);
            at += length + 16;
        }
        assert_eq!(at, bytes.len());
        assert!(records[0].ends_with(b"brain.Event:2"));
        assert!(records[1].ends_with(&[0x10, 0x88, 0x03, 0x3a, 2, 8, 1])); // step 392, START
        assert!(records[2].ends_with(&f32::NAN.to_le_bytes()));
        assert_eq!(records.len(), 3);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = EventWriter::create("no/such/folder", 0).unwrap_err();
        assert!(error.to_string().starts_with("no/such/folder: "), "{error}");
    }
}
