//! All errors, each with a place and what to do instead.

use crate::fault::Fault;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a data set could not be loaded. Printed after `error: `, it has the form of foil's other
/// messages: what, where, help.
#[derive(Debug)]
#[non_exhaustive]
pub enum DataError {
    /// It is in none of the places.
    NotFound {
        /// Of the data set.
        name: &'static str,
        /// Bytes that a download would fetch.
        download_bytes: u64,
        /// Every place looked at, in order.
        looked: Vec<PathBuf>,
    },
    /// Some of its files are missing.
    Missing {
        /// Of the data set.
        name: &'static str,
        /// Folder or archive.
        place: PathBuf,
        /// Names of those that are not there.
        files: Vec<String>,
    },
    /// It is there, as Python pickles.
    PythonPickles {
        /// Of the data set.
        name: &'static str,
        /// The pickled folder, file or archive.
        place: PathBuf,
    },
    /// A file is truncated, too long, or not what its name says.
    BadFile {
        /// Of the data set.
        name: &'static str,
        /// The file; for one inside an archive, the archive's path and the name in it.
        file: PathBuf,
        /// What is wrong, such as "wrong magic number".
        what: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// The system would not read or write a file.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, such as "read".
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No mirror gave a file.
    Download {
        /// Of the data set.
        name: String,
        /// Names of the files still to fetch; the first is the one that failed.
        wanted: Vec<String>,
        /// Where they should have gone.
        folder: PathBuf,
        /// Each try, in order.
        attempts: Vec<Attempt>,
    },
}

/// One try of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What was asked for.
    pub url: String,
    /// Why that did not give the file.
    pub reason: String,
}

impl DataError {
    /// The first line: what is wrong.
    pub fn message(&self) -> String {
        match self {
            Self::NotFound { name, .. } => format!("`{name}` was not found"),
            Self::Missing { name, files, .. } => format!("`{name}` is not complete: {} missing", list(files)),
            Self::PythonPickles { name, .. } => {
                format!("`{name}` was found as Python pickles, which are not read here")
            }
            Self::BadFile { name, what, found, expected, .. } => {
                format!("a file of `{name}` cannot be used: {what}; found {found}, expected {expected}")
            }
            Self::Io { doing, source, .. } => format!("could not {doing} a file: {source}"),
            Self::Download { name, wanted, .. } => {
                format!("`{}` of `{name}` could not be fetched", wanted.first().map_or("a file", String::as_str))
            }
        }
    }

    /// The places it is about, in order; may be none.
    pub fn places(&self) -> Vec<String> {
        let shown = |path: &Path| path.display().to_string();
        match self {
            Self::NotFound { looked, .. } => looked.iter().map(|path| shown(path)).collect(),
            Self::Missing { place, .. } | Self::PythonPickles { place, .. } => vec![shown(place)],
            Self::BadFile { file, .. } => vec![shown(file)],
            Self::Io { path, .. } => vec![shown(path)],
            Self::Download { attempts, .. } => attempts.iter().map(|a| format!("{}: {}", a.url, a.reason)).collect(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::NotFound { name, download_bytes, .. } => {
                let megabytes = (download_bytes + 500_000) / 1_000_000;
                format!(
                    "`foil data get {name}` fetches it ({megabytes} MB); or set FOIL_DATA to the folder that has it"
                )
            }
            Self::Missing { name, .. } => format!("`foil data get {name}` fetches a complete copy"),
            Self::PythonPickles { name, .. } => {
                format!("`foil data get {name}` fetches the binary version of the same images")
            }
            Self::BadFile { name, .. } => {
                format!(
                    "replace it, or move it away if it belongs to another data set; `foil data get {name}` fetches a fresh copy"
                )
            }
            Self::Io { .. } => "check that it exists, that you may use it, and that the disk is not full".to_string(),
            Self::Download { wanted, folder, .. } => {
                let (files, them) = (wanted.join(", "), if wanted.len() == 1 { "it" } else { "them" });
                format!("no network here? fetch {files} elsewhere and put {them} in {}", folder.display())
            }
        }
    }

    /// For `map_err`: an i/o error with its place.
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> DataError {
        move |source| DataError::Io { path: path.to_path_buf(), doing, source }
    }

    /// For `map_err`: a fault with its place.
    pub(crate) fn bad_file(name: &'static str, file: &Path) -> impl FnOnce(Fault) -> DataError {
        move |fault| {
            let Fault { what, found, expected } = fault;
            DataError::BadFile { name, file: file.to_path_buf(), what, found, expected }
        }
    }
}

fn list(files: &[String]) -> String {
    let quoted: Vec<_> = files.iter().map(|file| format!("`{file}`")).collect();
    format!("{} {}", quoted.join(", "), if files.len() == 1 { "is" } else { "are" })
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        for place in self.places() {
            write!(f, "\n  --> {place}")?;
        }
        write!(f, "\n  help: {}", self.help())
    }
}

impl std::error::Error for DataError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
