//! Reading a file, gzipped or not, without ever holding more than it may contain.

use crate::error::DataError;
use crate::fault::{Fault, grouped};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The unpacked content, at most `limit + 1` bytes of it: the extra byte shows that it is too
/// long.
///
/// Gzip is detected from the first bytes, not from the name.
///
/// # Errors
/// `Io` when the system refuses; `BadFile` when the gzip stream is cut short or fails its checksum.
pub(crate) fn read(name: &'static str, path: &Path, limit: usize) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::with_capacity(limit + 1);
    let outcome = open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    match outcome {
        Ok(_) => Ok(bytes),
        Err(error) => Err(explain(error, name, path, bytes.len())),
    }
}

/// The content of a file as a stream, unpacked when it is gzipped.
///
/// # Errors
/// When the system refuses, or it is not a regular file.
pub fn open(path: &Path) -> std::io::Result<Box<dyn Read>> {
    // Opening a pipe blocks until someone writes, and a device may never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let gzipped = file.fill_buf()?.starts_with(&GZIP_MAGIC);
    Ok(if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// flate2 reports a broken stream as one of these kinds; anything else is the system's. `read` is 0
/// where it is not known.
pub(crate) fn explain(error: std::io::Error, name: &'static str, path: &Path, read: usize) -> DataError {
    let what = match error.kind() {
        ErrorKind::UnexpectedEof => "its gzip stream is cut short",
        ErrorKind::InvalidInput | ErrorKind::InvalidData => "its gzip stream is damaged",
        _ => return DataError::io(path, "read")(error),
    };
    let after = if read > 0 { format!(" after {} unpacked bytes", grouped(read)) } else { String::new() };
    let found = format!("{error}{after}");
    DataError::bad_file(name, path)(Fault::new(what, found, "a whole gzip stream"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_set::gzip;

    fn read_back(content: &[u8], limit: usize) -> Result<Vec<u8>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        read("mnist", &path, limit)
    }

    #[test]
    fn plain_and_gzipped_read_the_same() {
        assert_eq!(read_back(b"hello", 5).unwrap(), b"hello");
        assert_eq!(read_back(&gzip(b"hello"), 5).unwrap(), b"hello");
    }

    #[test]
    fn a_bomb_is_read_up_to_one_byte_past_the_limit() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(bomb.len() < 100_000);
        assert_eq!(read_back(&bomb, 100).unwrap().len(), 101);
    }

    #[test]
    fn a_gzip_stream_that_is_cut_or_damaged_says_so() {
        let whole = gzip(b"hello, this is long enough to be cut");
        let cut = read_back(&whole[..whole.len() - 9], 100).unwrap_err();
        assert!(cut.to_string().contains("its gzip stream is cut short"), "{cut}");

        let mut damaged = whole.clone();
        let crc = damaged.len() - 6;
        damaged[crc] ^= 1;
        let damaged = read_back(&damaged, 100).unwrap_err();
        assert!(damaged.to_string().contains("its gzip stream is damaged"), "{damaged}");
    }

    #[test]
    fn a_file_that_is_not_there_is_an_io_error() {
        let error = read("mnist", Path::new("no/such/file"), 1).unwrap_err();
        assert!(matches!(error, DataError::Io { doing: "read", .. }), "{error}");
    }
}
