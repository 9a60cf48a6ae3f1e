//! Where the record of an evaluation goes.

use super::Observer;
use crate::pipeline::Pipeline;
use crate::record::EvalRecord;
use crate::record::evaluations::FIRST;
use crate::train::Folder;
use foil::distributed::World;
use foil::{Error, Result, atomic};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Refuses a record that is not a file.
///
/// # Errors
/// That it is none.
pub fn check_out(out: &Path) -> Result<()> {
    if !atomic::is_stream(out) {
        return Ok(());
    }
    let why = format!("--out {} is not a file, and a table of the images goes beside the record", out.display());
    Err(Error::new(why).help("name a file"))
}

/// Whether the record can be written, before an hour of attacks.
pub(super) fn check(out: Option<&Path>, folder: &Folder, weights: &Path, world: World) -> Result<()> {
    out.map_or(Ok(()), check_out)?;
    if world.is_first() {
        let out = out.map_or_else(|| first(folder, weights), Path::to_path_buf);
        atomic::probe(&out).map_err(|error| {
            Error::new(format!("the record could not be written: {error}")).help("--out FILE puts it elsewhere")
        })?;
    }
    Ok(())
}

/// Until it is dropped, other evaluations of this run wait to write their records.
pub(super) fn lock(folder: &Folder) -> io::Result<File> {
    let file = File::open(folder.path())?;
    file.lock()?;
    Ok(file)
}

/// The name of a checkpoint's first record.
fn first(folder: &Folder, weights: &Path) -> PathBuf {
    match weights.file_stem().filter(|_| weights.file_name() != folder.best().file_name()) {
        Some(stem) => folder.path().join(format!("{}.eval.json", stem.display())),
        None => folder.path().join(FIRST),
    }
}

/// Where the record of a checkpoint goes: `eval.json` for the best one, `last.eval.json` for
/// last.safetensors. Where that is of these weights (their `digest`) but of other attacks or
/// images, it stays, and this one is `eval.HASH.json`.
pub(super) fn default_place(
    folder: &Folder,
    weights: &Path,
    pipeline: &Pipeline,
    digest: &str,
    images: u64,
) -> PathBuf {
    let first = first(folder, weights);
    let is_other =
        |record: EvalRecord| record.weights.as_deref() == Some(digest) && !pipeline.is_evaluated_by(&record, images);
    match EvalRecord::load(&first).is_ok_and(is_other) {
        true => first.with_extension(format!("{}.json", pipeline.eval_hash(images))),
        false => first,
    }
}

/// `out`, or a place beside it where `out` is the record of newer weights: training continued
/// meanwhile.
pub(super) fn beside_newer(
    out: PathBuf,
    record: &EvalRecord,
    weights: &Path,
    observer: &mut dyn Observer,
) -> Result<PathBuf> {
    let Some(why) = record.outdated(weights)? else { return Ok(out) };
    let is_newer = EvalRecord::load(&out).is_ok_and(|other| {
        let current = other.weights.is_some() && other.outdated(weights).is_ok_and(|outdated| outdated.is_none());
        other.weights != record.weights && (current || other.epoch > record.epoch)
    });
    observer.note(&format!("this evaluation is {why}"));
    if !is_newer {
        return Ok(out);
    }
    let beside = out.with_extension(format!("epoch{}.json", record.epoch));
    observer.note(&format!("{} is from newer weights and is kept; this record goes beside it", out.display()));
    Ok(beside)
}
