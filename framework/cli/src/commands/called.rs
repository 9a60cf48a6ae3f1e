//! Commands as functions, for a program that has foil inside: a notebook, or a sweep of its own.

use super::train::{Place, train};
use foil::Result;
use foil::distributed::World;
use foil_runs::pipeline::load;
use foil_runs::train::{Ended, Folder, Observer};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Trains the pipeline in `file` with `overrides` in the folder `place`, by default `runs/NAME`,
/// until it is done or `stop` is set. Returns the run's folder.
///
/// # Errors
/// As `foil train`.
pub fn train_file(
    file: &Path,
    overrides: &[String],
    place: Option<PathBuf>,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<(PathBuf, Ended)> {
    let loaded = super::train::one_run(file, load(file, overrides)?)?;
    let (folder, ended) = train(&loaded, place.map_or(Place::Free, Place::New), observer, stop, World::alone())?;
    Ok((folder.path().to_path_buf(), ended))
}

/// Resumes the run in `folder`.
///
/// # Errors
/// As `foil train --resume`.
pub fn resume(folder: &Path, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Ended> {
    let run = Folder::open(folder)?;
    super::train::refuse_imported(&run)?;
    let loaded = load(&run.resolved(), &[])?;
    Ok(train(&loaded, Place::Old(run), observer, stop, World::alone())?.1)
}
