//! One file after the other: mirrors in turn, resumption, checksum, and the file's name only at the
//! end.

use super::http::{self, Stop};
use super::{Order, Progress};
use crate::error::{Attempt, DataError};
use crate::sums;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use ureq::Agent;

/// Requests to one mirror for one file. It is tried again only after a request that made progress.
const TRIES: usize = 5;

/// Fetch every file that is not there yet into `folder`, which is made if need be.
pub(super) fn all(
    agent: &Agent,
    name: &str,
    orders: &[Order],
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), DataError> {
    fs::create_dir_all(folder).map_err(DataError::io(folder, "make a folder for"))?;
    for (index, order) in orders.iter().enumerate() {
        let failed = match one(agent, order, folder, progress)? {
            Outcome::Done => continue,
            Outcome::Failed(attempts) => attempts,
        };
        let wanted = orders[index..].iter().map(|order| order.file.clone()).collect();
        return Err(DataError::Download {
            name: name.to_string(),
            wanted,
            folder: folder.to_path_buf(),
            attempts: failed,
        });
    }
    Ok(())
}

enum Outcome {
    Done,
    Failed(Vec<Attempt>),
}

fn one(
    agent: &Agent,
    order: &Order,
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome, DataError> {
    let target = folder.join(&order.file);
    if target.is_file() && is_right(&target, order)? {
        progress(Progress::Present { file: &order.file });
        return Ok(Outcome::Done);
    }
    let part = folder.join(format!("{}.part", order.file));
    let mut attempts = Vec::new();
    for url in &order.urls {
        for _ in 0..TRIES {
            let have = length(&part, order)?;
            progress(Progress::Started { file: &order.file, url, have, of: order.bytes });
            let outcome =
                if have == order.bytes { Ok(()) } else { http::append(agent, url, order, &part, have, progress) };
            let (reason, again) = match outcome {
                Ok(()) if is_right(&part, order)? => {
                    put_in_place(&part, &target).map_err(DataError::io(&target, "write"))?;
                    progress(Progress::Finished { file: &order.file });
                    return Ok(Outcome::Done);
                }
                Ok(()) => {
                    fs::remove_file(&part).map_err(DataError::io(&part, "remove"))?;
                    // The partial file of an earlier try may have been wrong: then this mirror
                    // gets a try from the start.
                    (format!("its checksum is wrong, expected SHA-256 {}", order.sha256), have > 0)
                }
                Err(Stop::Broken(reason)) => (reason, length(&part, order)? > have),
                Err(Stop::Refused(reason)) => (reason, false),
                Err(Stop::Disk(error)) => return Err(DataError::io(&part, "write")(error)),
            };
            progress(Progress::Failed { url, reason: &reason });
            attempts.push(Attempt { url: url.clone(), reason });
            if !again {
                break;
            }
        }
    }
    Ok(Outcome::Failed(attempts))
}

/// The usable length of the partial file. One that is longer than the file is removed.
fn length(part: &Path, order: &Order) -> Result<u64, DataError> {
    match fs::metadata(part) {
        Ok(found) if found.len() <= order.bytes => Ok(found.len()),
        Ok(_) => fs::remove_file(part).map(|()| 0).map_err(DataError::io(part, "remove")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(DataError::io(part, "read")(error)),
    }
}

/// Whether a file has the length and the SHA-256 ordered.
fn is_right(path: &Path, order: &Order) -> Result<bool, DataError> {
    let sum = || match fs::metadata(path)?.len() == order.bytes {
        true => sums::of_file(path).map(Some),
        false => Ok(None),
    };
    let found = sum().map_err(DataError::io(path, "read"))?;
    Ok(found.as_deref() == Some(order.sha256.as_str()))
}

/// Synced to disk before it gets its name, so that not even a power cut leaves half a file with
/// the real name.
fn put_in_place(part: &Path, target: &Path) -> io::Result<()> {
    File::options().write(true).open(part)?.sync_all()?;
    fs::rename(part, target)?;
    if let Some(folder) = target.parent() {
        // Not every file system supports this for a folder; then the rename is only as safe as the
        // file system makes it.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}
