//! Getting the published files of a data set from their mirrors, in a way that survives being
//! stopped at any point.
//!
//! A file grows as `FILE.part`, is resumed from there, and gets its name only once its length and
//! SHA-256 are right. So a file with its real name is whole, and calling again after any failure
//! resumes the download.

mod fetch;
mod http;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;

use crate::error::DataError;
use crate::facts::Remote;
use std::env;
use std::path::Path;

/// Progress reports of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A file is already there, and right.
    Present {
        /// Its name.
        file: &'a str,
    },
    /// A mirror is asked for a file.
    Started {
        /// Its name.
        file: &'a str,
        /// The mirror's address of it.
        url: &'a str,
        /// Bytes that an earlier try has left.
        have: u64,
        /// Bytes of the whole file.
        of: u64,
    },
    /// More of it is on disk.
    Received {
        /// Bytes on disk now.
        have: u64,
    },
    /// This try failed; another mirror or a resumption may succeed.
    Failed {
        /// The address asked.
        url: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The file is in place.
    Finished {
        /// Its name.
        file: &'a str,
    },
}

/// Fetch those of `remotes` that are not there yet into `folder`; `name` is the data set's, for
/// messages.
///
/// Mirrors are tried in turn; one named in `FOIL_DATA_MIRROR` (an address that the file names are
/// put behind) comes first. What it sends is checked against the same SHA-256.
///
/// # Errors
/// `Io` when the disk refuses; `Download` when every mirror failed, with each reason, the
/// addresses, and where to put the files by hand.
pub fn download(
    name: &str,
    remotes: &[Remote],
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), DataError> {
    let own_mirror = env::var("FOIL_DATA_MIRROR").ok().filter(|mirror| !mirror.is_empty());
    let orders: Vec<_> = remotes.iter().map(|remote| Order::of(remote, own_mirror.as_deref())).collect();
    fetch::all(&http::agent().build().into(), name, &orders, folder, progress)
}

/// One file to fetch.
#[derive(Debug, Clone)]
struct Order {
    file: String,
    bytes: u64,
    sha256: String,
    urls: Vec<String>,
}

impl Order {
    fn of(remote: &Remote, own_mirror: Option<&str>) -> Self {
        let own = own_mirror.map(|mirror| format!("{}/{}", mirror.trim_end_matches('/'), remote.file));
        let public = remote.mirrors.iter().map(|mirror| format!("{mirror}{}", remote.file));
        Order {
            file: remote.file.to_string(),
            bytes: remote.bytes,
            sha256: remote.sha256.to_string(),
            urls: own.into_iter().chain(public).collect(),
        }
    }
}
