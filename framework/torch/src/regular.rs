//! Reading files that a pipeline, a folder or a command names, without blocking and up to a limit.
//!
//! A pipe may block its reader and a device may never end, so only regular files are opened, and
//! each is read up to the size allowed for its kind.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// The most bytes of a text file: a pipeline, a record, a lock, a log of metrics.
pub const TEXT: u64 = 256 << 20;
/// The most bytes of a library.
pub const LIBRARY: u64 = 4 << 30;
/// The most bytes of a file of weights.
pub const WEIGHTS: u64 = 32 << 30;

/// Opens a regular file for reading.
///
/// # Errors
/// The system's, or that it is a folder, a pipe or a device.
pub fn open(path: impl AsRef<Path>) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Without it, opening a pipe blocks until someone writes. It has no effect on a regular file.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    let found = file.metadata()?;
    if found.is_file() {
        return Ok(file);
    }
    let what = if found.is_dir() { "it is a folder" } else { "it is a pipe or a device, not a regular file" };
    Err(Error::new(ErrorKind::InvalidInput, what))
}

/// The content of a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], or that it is larger.
pub fn read(path: impl AsRef<Path>, most: u64) -> Result<Vec<u8>> {
    content(open(path)?, most)
}

/// The same of a text.
///
/// # Errors
/// As [`read`], or that it is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>, most: u64) -> Result<String> {
    String::from_utf8(read(path, most)?).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

/// The rest of an open file, of at most `most` bytes.
pub fn content(file: File, most: u64) -> Result<Vec<u8>> {
    let too_large = || Error::new(ErrorKind::FileTooLarge, format!("it has more than {most} bytes"));
    let size = file.metadata()?.len();
    if size > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size as usize).map_err(|_| Error::from(ErrorKind::OutOfMemory))?;
    file.take(most + 1).read_to_end(&mut bytes)?; // it may grow meanwhile
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_up_to_their_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello").unwrap();
        assert_eq!(read_to_string(&path, 5).unwrap(), "hello");
        assert_eq!(read(&path, 4).unwrap_err().to_string(), "it has more than 4 bytes");
        assert_eq!(read(folder.path(), 4).unwrap_err().to_string(), "it is a folder");
        assert_eq!(read(folder.path().join("none"), 4).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_to_string(&path, 5).unwrap_err().to_string(), "it is not UTF-8");
    }

    /// Nothing writes into the pipe: a plain `open` would block for ever.
    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert_eq!(open(path).unwrap_err().to_string(), "it is a pipe or a device, not a regular file");
        }
    }
}
