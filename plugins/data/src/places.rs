//! Files of data sets on this machine: found, and opened without surprises.

use foil::{AtPath, Error, Result, regular};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The first place of a data set in which `has` finds something.
///
/// # Errors
/// When none does, with the places searched and `help`.
pub fn find<T>(name: &str, folder: Option<&Path>, has: impl Fn(&Path) -> Option<T>, help: &str) -> Result<T> {
    let looked = foil_data::places(name, folder);
    if let Some(found) = looked.iter().find_map(|place| has(place)) {
        return Ok(found);
    }
    let places: String = looked.iter().map(|place| format!("\n  --> {}", place.display())).collect();
    Err(Error::new(format!("`{name}` was not found{places}")).help(help))
}

/// Opens a regular file: a pipe would wait for ever, and a device may never end.
///
/// # Errors
/// When it is not there, or not a regular file.
pub fn open(path: &Path) -> Result<BufReader<File>> {
    regular::open(path).map(|file| BufReader::with_capacity(1 << 18, file)).at("reading", path)
}

/// For `map_err`: says which file an error is about.
pub fn about(path: &Path) -> impl FnOnce(Error) -> Error {
    let path: PathBuf = path.to_path_buf();
    move |error| error.context(path.display())
}
