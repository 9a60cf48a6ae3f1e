//! The two files of a run's metrics, kept in sync.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Row;
use crate::record::csv;
use foil::atomic;

/// The metrics of one run, open for the next epoch.
#[derive(Debug)]
pub struct MetricsLog {
    json: PathBuf,
    csv: PathBuf,
    rows: Vec<Row>,
}

impl MetricsLog {
    /// Opens the log in the run folder `folder`, with the rows of an earlier process. An
    /// incomplete row is removed.
    ///
    /// # Errors
    /// As [`load`], or when a file cannot be written.
    pub fn open(folder: impl AsRef<Path>) -> io::Result<Self> {
        let folder = folder.as_ref();
        let (json, csv) = (folder.join("metrics.jsonl"), folder.join("metrics.csv"));
        let mut log = MetricsLog { json, csv, rows: Vec::new() };
        if log.json.exists() {
            log.rows = load(&log.json)?;
            log.rewrite(&log.rows)?;
        }
        Ok(log)
    }

    /// The rows so far, oldest first.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Adds an epoch. When this returns, the row is on disk.
    ///
    /// # Errors
    /// `InvalidInput` when the epoch is not later than the last one, or when a value is called
    /// `epoch` or `step`; otherwise the system's error, and the row is not in the log unless
    /// `metrics.csv` alone could not be replaced.
    pub fn append(&mut self, row: Row) -> io::Result<()> {
        self.check(&row)?;
        let mut line = serde_json::to_string(&row)?;
        line.push('\n');
        if self.json.exists() {
            append_line(&self.json, &line).map_err(|error| atomic::at(&self.json, error))?;
        } else {
            atomic::write(&self.json, &line)?;
        }
        self.rows.push(row);
        atomic::write(&self.csv, table(&self.rows))
    }

    /// Removes every epoch after `epoch`: a run that resumes from a checkpoint writes them again.
    ///
    /// # Errors
    /// When a file cannot be replaced.
    pub fn truncate_after(&mut self, epoch: u64) -> io::Result<()> {
        let keep = self.rows.partition_point(|row| row.epoch <= epoch);
        if keep == self.rows.len() {
            return Ok(());
        }
        self.rewrite(&self.rows[..keep])?;
        self.rows.truncate(keep);
        Ok(())
    }

    fn check(&self, row: &Row) -> io::Result<()> {
        let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if let Some(last) = self.rows.last().filter(|last| last.epoch >= row.epoch) {
            return refuse(format!("epoch {} cannot follow epoch {} in the metrics log", row.epoch, last.epoch));
        }
        match ["epoch", "step"].into_iter().find(|&name| row.values.contains_key(name)) {
            Some(taken) => refuse(format!("a metric cannot be called `{taken}`: each row has one already")),
            None => Ok(()),
        }
    }

    fn rewrite(&self, rows: &[Row]) -> io::Result<()> {
        let mut lines = String::new();
        for row in rows {
            lines += &serde_json::to_string(row)?;
            lines.push('\n');
        }
        atomic::write(&self.json, lines)?;
        atomic::write(&self.csv, table(rows))
    }
}

/// Reads a `metrics.jsonl`. A last line that was being written when the run was killed is left out.
///
/// # Errors
/// The system's error with the path in its text; `InvalidData` with the line's number when a line
/// other than the last is not a row.
pub fn load(path: impl AsRef<Path>) -> io::Result<Vec<Row>> {
    read(path).map(|(rows, _)| rows)
}

/// As [`load`]; also returns whether the last line was incomplete.
///
/// # Errors
/// As [`load`].
pub fn read(path: impl AsRef<Path>) -> io::Result<(Vec<Row>, bool)> {
    let path = path.as_ref();
    let bytes = foil::regular::read(path, foil::regular::TEXT).map_err(|error| atomic::at(path, error))?;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    let (mut rows, mut torn) = (Vec::with_capacity(lines.len()), false);
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_slice(line) {
            Ok(row) => rows.push(row),
            Err(_) if index + 1 == lines.len() && !line.ends_with(b"\n") => torn = true,
            Err(error) => {
                let text = format!("{}:{}: not a row of metrics: {error}", path.display(), index + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
    }
    Ok((rows, torn))
}

/// The missing row of a run with `epochs` finished epochs, if any, in words that follow the file's
/// name. Each epoch has one row.
pub fn gap(rows: &[Row], epochs: u64) -> Option<String> {
    let missing = (1..=epochs).zip(rows.iter().map(|row| Some(row.epoch)).chain(std::iter::repeat(None)));
    let (epoch, _) = missing.into_iter().find(|(epoch, row)| *row != Some(*epoch))?;
    Some(match rows.last() {
        Some(last) if last.epoch < epoch => format!("ends with epoch {}, but {epochs} are done", last.epoch),
        Some(_) => format!("has no row of epoch {epoch}, but {epochs} are done"),
        None => format!("is empty, but {epochs} epochs are done"),
    })
}

/// SHA-256 of the rows of the first `epochs` epochs, in hex: what a run's state says of them.
///
/// # Errors
/// When a row has no JSON form.
pub fn digest(rows: &[Row], epochs: u64) -> io::Result<String> {
    let mut lines = Vec::new();
    for row in rows.iter().filter(|row| row.epoch <= epochs) {
        serde_json::to_writer(&mut lines, row)?;
        lines.push(b'\n');
    }
    Ok(foil::hash::hash(&lines))
}

/// What is wrong with the rows of a run that has done `epochs` epochs, in words that follow the
/// file's name: a [`gap`], or other numbers than the run's state has seen. `seen` is their
/// [`digest`]; empty where no state says it.
pub fn fault(rows: &[Row], epochs: u64, seen: &str) -> Option<String> {
    gap(rows, epochs).or_else(|| {
        let same = seen.is_empty() || digest(rows, epochs).is_ok_and(|found| found == seen);
        (!same).then(|| "is damaged: its figures are not those that were written".to_string())
    })
}

/// Appends and syncs. A line that was not written completely (the disk is full) is removed, or the
/// next one would be appended to it.
fn append_line(path: &Path, line: &str) -> io::Result<()> {
    let mut file = atomic::options().append(true).open(path)?;
    let before = file.metadata()?.len();
    file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).inspect_err(|_| {
        let _ = file.set_len(before);
    })
}

/// The rows as CSV. Columns are the union of the names, in the order in which they first appear; a
/// row without one has an empty field.
fn table(rows: &[Row]) -> String {
    let names: indexmap::IndexSet<&str> = rows.iter().flat_map(|row| row.values.keys().map(String::as_str)).collect();
    let mut text = String::from("epoch,step");
    names.iter().for_each(|name| text += &format!(",{}", csv::field(name)));
    text.push('\n');
    for row in rows {
        text += &format!("{},{}", row.epoch, row.step);
        for &name in &names {
            text.push(',');
            text += &row.values.get(name).map(|&value| csv::number(value)).unwrap_or_default();
        }
        text.push('\n');
    }
    text
}
