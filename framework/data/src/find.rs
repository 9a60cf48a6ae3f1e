//! Where a data set may be on this machine, and where it is.

use crate::catalog::DatasetInfo;
use crate::error::DataError;
use crate::layout::{self, Layout};
use std::env;
use std::path::{Path, PathBuf};

/// Finds a data set and its layout.
///
/// # Errors
/// `NotFound` with the places searched; `PythonPickles` when only the pickled
/// version is there.
pub(crate) fn find(info: &'static DatasetInfo, folder: Option<&Path>) -> Result<Layout, DataError> {
    find_with(info, folder, &Surroundings::of_process())
}

/// The places in which a data set is looked for, in order.
///
/// With a `folder`, only that and the one in it that is called `name`: a caller that names a place
/// does not want another copy. Without: `$FOIL_DATA/<name>`, `$FOIL_DATA`, `data/<name>`, and the
/// cache folder that `foil data get` fills.
pub fn places(name: &str, folder: Option<&Path>) -> Vec<PathBuf> {
    places_with(name, folder, &Surroundings::of_process())
}

/// Where a download goes unless told otherwise: `foil/data/<name>` in `$XDG_CACHE_HOME` or
/// `~/.cache`; `data/<name>` without a home.
pub fn cache_folder(name: &str) -> PathBuf {
    let cache = Surroundings::of_process().cache;
    cache.unwrap_or_else(|| PathBuf::from("data")).join(name)
}

/// What the places depend on.
#[derive(Debug, Default)]
struct Surroundings {
    /// `FOIL_DATA`.
    foil_data: Option<PathBuf>,
    /// `foil/data` in the user's cache folder.
    cache: Option<PathBuf>,
}

impl Surroundings {
    fn of_process() -> Self {
        let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
        Surroundings { foil_data: path("FOIL_DATA"), cache: cache.map(|cache| cache.join("foil/data")) }
    }
}

fn places_with(name: &str, folder: Option<&Path>, around: &Surroundings) -> Vec<PathBuf> {
    if let Some(folder) = folder {
        return vec![folder.to_path_buf(), folder.join(name)];
    }
    let mut places = Vec::new();
    if let Some(foil_data) = &around.foil_data {
        places.extend([foil_data.join(name), foil_data.clone()]);
    }
    places.push(Path::new("data").join(name));
    places.extend(around.cache.iter().map(|cache| cache.join(name)));
    places
}

fn find_with(info: &'static DatasetInfo, folder: Option<&Path>, around: &Surroundings) -> Result<Layout, DataError> {
    if info.is_built_in() {
        return Ok(Layout::BuiltIn);
    }
    let looked = places_with(info.name, folder, around);
    let mut pickles = None;
    for place in &looked {
        if let Some(layout) = layout::detect(info, place) {
            return Ok(layout);
        }
        pickles = pickles.or_else(|| layout::pickles(info, place));
    }
    let (name, download_bytes) = (info.name, info.download_bytes());
    Err(match pickles {
        Some(place) => DataError::PythonPickles { name, place },
        None => DataError::NotFound { name, download_bytes, looked },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_set::{RECORDS, write};
    use tempfile::tempdir;

    fn around(foil_data: &Path, cache: &Path) -> Surroundings {
        Surroundings { foil_data: Some(foil_data.into()), cache: Some(cache.into()) }
    }

    #[test]
    fn the_places_come_in_the_documented_order() {
        let places = places_with("mnist", None, &around(Path::new("F"), Path::new("C")));
        assert_eq!(places, ["F/mnist", "F", "data/mnist", "C/mnist"].map(PathBuf::from));
        assert_eq!(places_with("mnist", None, &Surroundings::default()), [PathBuf::from("data/mnist")]);
        let given = places_with("mnist", Some(Path::new("D")), &around(Path::new("F"), Path::new("C")));
        assert_eq!(given, ["D", "D/mnist"].map(PathBuf::from), "a given folder is the only one");
    }

    #[test]
    fn the_first_place_that_has_it_wins() {
        let (root, cache) = (tempdir().unwrap(), tempdir().unwrap());
        let around = around(root.path(), cache.path());
        let looked = find_with(&RECORDS, None, &around).unwrap_err();
        assert_eq!(looked.places().len(), 4, "{looked}");

        write(&cache.path().join("records/train.bin"), b"");
        assert_eq!(find_with(&RECORDS, None, &around).unwrap(), Layout::Files(cache.path().join("records")));
        write(&root.path().join("train.bin"), b"");
        assert_eq!(find_with(&RECORDS, None, &around).unwrap(), Layout::Files(root.path().into()));
        write(&root.path().join("records/train.bin"), b"");
        assert_eq!(find_with(&RECORDS, None, &around).unwrap(), Layout::Files(root.path().join("records")));
    }

    #[test]
    fn pickles_are_recognised_but_not_preferred() {
        let (root, cache) = (tempdir().unwrap(), tempdir().unwrap());
        let around = around(root.path(), cache.path());
        write(&root.path().join("records/records-py/data_batch_1"), b"");
        let error = find_with(&RECORDS, None, &around).unwrap_err().to_string();
        assert!(error.starts_with("`records` was found as Python pickles, which are not read here\n  --> "), "{error}");
        assert!(error.contains("help: `foil data get records` fetches the binary version"), "{error}");

        write(&cache.path().join("records/train.bin"), b"");
        assert_eq!(find_with(&RECORDS, None, &around).unwrap(), Layout::Files(cache.path().join("records")));
    }

    #[test]
    fn what_is_built_in_is_always_found() {
        assert_eq!(find(&crate::MNIST_SUBSET, None).unwrap(), Layout::BuiltIn);
    }
}
