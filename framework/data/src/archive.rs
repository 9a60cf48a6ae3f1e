//! The published archive: a tar, usually gzipped, with the published files in a folder.

use crate::assemble::Assembly;
use crate::bounded;
use crate::catalog::DatasetInfo;
use crate::error::DataError;
use crate::fault::Fault;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

/// More than the published archives hold besides the files that are read.
const OTHER_FILES: usize = 1 << 20;

/// Read the files of the catalog by name, in whatever folder of the archive and in whatever order
/// they come.
///
/// Nothing is written to disk, and no more is unpacked than the published archives hold.
pub(crate) fn read(info: &'static DatasetInfo, path: &Path, assembly: &mut Assembly) -> Result<(), DataError> {
    let bad = |fault| DataError::bad_file(info.name, path)(fault);
    let broken = |error: io::Error| match error.get_ref() {
        // tar wraps what it could not parse in `Other`; everything else is gzip's or the system's.
        _ if error.kind() == io::ErrorKind::Other => {
            bad(Fault::new("it is not a tar archive", error.to_string(), "the published archive"))
        }
        _ => bounded::explain(error, info.name, path, 0),
    };
    let needed: usize = info.files.iter().map(|file| info.length_of(file)).sum();
    let stream = bounded::open(path).map_err(DataError::io(path, "read"))?.take((needed + OTHER_FILES) as u64);

    // The catalog's order is kept: a file that comes early waits for those before it.
    let mut contents: Vec<Option<Vec<u8>>> = info.files.iter().map(|_| None).collect();
    let mut next = 0;
    for member in tar::Archive::new(stream).entries().map_err(broken)? {
        let mut member = member.map_err(broken)?;
        let place = member.path().map_err(broken)?.into_owned();
        let wanted = info.files.iter().position(|file| place.file_name() == Some(OsStr::new(file.name)));
        let Some(index) = wanted.filter(|&index| index >= next && contents[index].is_none()) else { continue };
        if !member.header().entry_type().is_file() {
            continue;
        }
        let length = info.length_of(&info.files[index]);
        let mut bytes = Vec::with_capacity(length + 1);
        member.by_ref().take(length as u64 + 1).read_to_end(&mut bytes).map_err(broken)?;
        contents[index] = Some(bytes);
        while let Some(bytes) = contents.get_mut(next).and_then(Option::take) {
            let file = &info.files[next];
            assembly.add(file, &bytes, None).map_err(DataError::bad_file(info.name, &path.join(file.name)))?;
            next += 1;
        }
        if next == info.files.len() {
            return Ok(());
        }
    }
    let missing = (next..contents.len()).filter(|&index| contents[index].is_none());
    let files = missing.map(|index| info.files[index].name.to_string()).collect();
    Err(DataError::Missing { name: info.name, place: path.to_path_buf(), files })
}
