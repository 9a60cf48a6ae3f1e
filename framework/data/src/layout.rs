//! The form in which a folder has a data set, and the contents of its published files from each
//! form.

use crate::assemble::Assembly;
use crate::catalog::{DataFile, DatasetInfo};
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::{archive, bounded, strips, sums};
use std::fmt;
use std::path::{Path, PathBuf};

/// The form in which a data set was found, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// The published files, gzipped or not, in this folder.
    Files(PathBuf),
    /// The published archive (tar, gzipped or not).
    Archive(PathBuf),
    /// `train.tar` and `test.tar` in this folder: `labels.bin` and lossless WebP strips of 500
    /// images.
    Strips(PathBuf),
    /// Inside the program.
    BuiltIn,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Files(path) | Layout::Archive(path) | Layout::Strips(path) => write!(f, "{}", path.display()),
            Layout::BuiltIn => f.write_str("built in"),
        }
    }
}

/// The form in which `place`, a folder or an archive, has the data set; `None` when it has nothing
/// of it.
///
/// A complete form is preferred to one with files missing; among equals, files to an archive to
/// strips.
pub(crate) fn detect(info: &DatasetInfo, place: &Path) -> Option<Layout> {
    if place.is_file() {
        return (!info.forms.archives.is_empty()).then(|| Layout::Archive(place.to_path_buf()));
    }
    let forms = &info.forms;
    let mut incomplete = None;
    for folder in std::iter::once(place.to_path_buf()).chain(forms.subfolders.iter().map(|sub| place.join(sub))) {
        let here = info.files.iter().filter(|file| stored(&folder, file).is_some()).count();
        if here == info.files.len() {
            return Some(Layout::Files(folder));
        }
        incomplete = incomplete.or((here > 0).then_some(Layout::Files(folder)));
    }
    let archives = forms.archives.iter().map(|archive| place.join(archive));
    if let Some(archive) = archives.into_iter().find(|archive| archive.is_file()) {
        return Some(Layout::Archive(archive));
    }
    if forms.strips {
        match strips::TARS.iter().filter(|tar| place.join(tar).is_file()).count() {
            0 => {}
            1 => incomplete = incomplete.or(Some(Layout::Strips(place.to_path_buf()))),
            _ => return Some(Layout::Strips(place.to_path_buf())),
        }
    }
    incomplete
}

/// The files that show that `place` has the data set as Python pickles.
pub(crate) fn pickles(info: &DatasetInfo, place: &Path) -> Option<PathBuf> {
    info.forms.pickles.iter().map(|name| place.join(name)).find(|path| path.exists())
}

/// Read the data set from where it was found, one published file after the other.
pub(crate) fn read(info: &'static DatasetInfo, layout: &Layout) -> Result<Dataset, DataError> {
    let mut assembly = Assembly::new(info);
    match layout {
        Layout::Files(folder) => read_files(info, folder, &mut assembly)?,
        Layout::Archive(path) => archive::read(info, path, &mut assembly)?,
        Layout::Strips(folder) => strips::read_folder(info, folder, &mut assembly)?,
        Layout::BuiltIn => strips::read_built_in(info, &mut assembly)?,
    }
    Ok(assembly.finish(layout.to_string()))
}

fn read_files(info: &'static DatasetInfo, folder: &Path, assembly: &mut Assembly) -> Result<(), DataError> {
    let found: Vec<_> = info.files.iter().map(|file| (file, stored(folder, file))).collect();
    let missing: Vec<_> =
        found.iter().filter(|(_, path)| path.is_none()).map(|(file, _)| file.name.to_string()).collect();
    if !missing.is_empty() {
        return Err(DataError::Missing { name: info.name, place: folder.to_path_buf(), files: missing });
    }
    for (file, path) in found {
        let Some(path) = path else { continue };
        let bytes = bounded::read(info.name, &path, info.length_of(file))?;
        let packed = path.extension().is_some_and(|ending| ending == "gz");
        let stored = packed.then(|| sums::of_file(&path)).transpose().map_err(DataError::io(&path, "read"))?;
        assembly.add(file, &bytes, stored.as_deref()).map_err(DataError::bad_file(info.name, &path))?;
    }
    Ok(())
}

/// The path of a published file in a folder, plain or with `.gz` behind its name.
fn stored(folder: &Path, file: &DataFile) -> Option<PathBuf> {
    let gzipped = format!("{}.gz", file.name);
    [file.name, &gzipped].into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests;
