//! Bytes of images: in memory, or in a file that may be larger than memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are read at once from a file where all are.
const PIECE: usize = 1 << 18;

/// The bytes of images, one after another.
///
/// Those in a file are read when they are asked for, and only as many as are: the system keeps as
/// much of the file in memory as it has room for. They are not mapped, since a program that reads
/// mapped bytes is ended by a signal where a disk fails or a file was cut short.
#[derive(Debug, Clone)]
pub struct Pixels {
    kept: Kept,
    len: usize,
}

#[derive(Debug, Clone)]
enum Kept {
    Memory(Vec<u8>),
    File(Arc<Open>),
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    /// Where the bytes begin.
    start: u64,
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len(), kept: Kept::Memory(bytes) }
    }
}

impl Pixels {
    /// The `len` bytes from `start` of a file, which is not changed any more. Its `path` is for
    /// messages.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn in_file(file: File, path: &Path, start: u64, len: usize) -> Result<Self> {
        let open = Open { file, path: path.to_path_buf(), start };
        let whole = open.file.metadata().map_err(|error| open.about(&error))?.len();
        if start.checked_add(len as u64).is_none_or(|end| end > whole) {
            return Err(open.about(&Error::new(ErrorKind::UnexpectedEof, format!("it has only {whole} bytes"))));
        }
        Ok(Self { kept: Kept::File(Arc::new(open)), len })
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether they are in a file.
    pub fn is_in_file(&self) -> bool {
        matches!(self.kept, Kept::File(_))
    }

    /// Keeps the first `len` bytes, or all if there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        if let Kept::Memory(bytes) = &mut self.kept {
            bytes.truncate(len);
        }
    }

    /// The `len` bytes from `start`.
    ///
    /// # Errors
    /// When there are fewer, or the file cannot be read.
    pub fn part(&self, start: usize, len: usize) -> Result<Cow<'_, [u8]>> {
        let end = start.checked_add(len).filter(|&end| end <= self.len);
        let end = end.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "there are fewer images"))?;
        match &self.kept {
            Kept::Memory(bytes) => Ok(Cow::Borrowed(&bytes[start..end])),
            Kept::File(open) => {
                let mut bytes = vec![0; len];
                open.read(start, &mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// All of them, in memory.
    ///
    /// # Errors
    /// As [`Pixels::part`].
    pub fn all(&self) -> Result<Cow<'_, [u8]>> {
        self.part(0, self.len)
    }

    /// Copies the bytes from `start` into `out`.
    ///
    /// # Errors
    /// As [`Pixels::part`].
    pub fn copy(&self, start: usize, out: &mut [u8]) -> Result<()> {
        match &self.kept {
            Kept::File(open) if start.checked_add(out.len()).is_some_and(|end| end <= self.len) => {
                open.read(start, out)
            }
            _ => self.part(start, out.len()).map(|bytes| out.copy_from_slice(&bytes)),
        }
    }

    /// Calls `work` with all of them, in pieces of a quarter of a megabyte that are whole images of
    /// `size` bytes: of a file, no more than one piece is in memory.
    ///
    /// # Errors
    /// As [`Pixels::part`].
    pub fn pieces(&self, size: usize, work: &mut dyn FnMut(&[u8])) -> Result<()> {
        let length = (PIECE / size.max(1)).max(1) * size.max(1);
        match &self.kept {
            Kept::Memory(bytes) => bytes.chunks(length).for_each(work),
            Kept::File(open) => {
                let (mut piece, mut start) = (vec![0; length], 0);
                while start < self.len {
                    let end = length.min(self.len - start);
                    open.read(start, &mut piece[..end])?;
                    work(&piece[..end]);
                    start += end;
                }
            }
        }
        Ok(())
    }
}

/// Whether the bytes are the same; those of a file that cannot be read are not.
impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && matches!((self.all(), other.all()), (Ok(ours), Ok(theirs)) if ours == theirs)
    }
}

impl Eq for Pixels {}

impl<T: AsRef<[u8]>> PartialEq<T> for Pixels {
    fn eq(&self, other: &T) -> bool {
        self.all().is_ok_and(|bytes| *bytes == *other.as_ref())
    }
}

impl Open {
    fn read(&self, start: usize, out: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(out, self.start + start as u64).map_err(|error| self.about(&error))
    }

    fn about(&self, error: &Error) -> Error {
        Error::new(error.kind(), format!("reading {}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes 0 to 9, in memory and behind a byte of a file.
    fn both() -> (tempfile::TempDir, [Pixels; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, (0..12).map(|n: u8| n.wrapping_sub(1)).collect::<Vec<u8>>()).unwrap();
        let file = Pixels::in_file(File::open(&path).unwrap(), &path, 1, 10).unwrap();
        (folder, [Pixels::from((0..10).collect::<Vec<u8>>()), file])
    }

    #[test]
    fn a_file_has_what_memory_has() {
        let (_folder, [memory, file]) = both();
        assert!(memory == file && file.is_in_file() && !memory.is_in_file());
        for mut pixels in [memory, file] {
            assert_eq!(pixels.part(3, 4).unwrap(), [3u8, 4, 5, 6].as_slice());
            let mut out = [0; 2];
            pixels.copy(8, &mut out).unwrap();
            assert_eq!(out, [8, 9]);
            let mut sum = 0;
            pixels.pieces(5, &mut |piece| sum += piece.iter().map(|&n| u32::from(n)).sum::<u32>()).unwrap();
            assert_eq!(sum, 45);
            pixels.truncate(4);
            assert_eq!((pixels.len(), pixels.all().unwrap().into_owned()), (4, vec![0, 1, 2, 3]));
            assert!(pixels == [0, 1, 2, 3] && pixels != [0, 1, 2, 4]);
            for (start, len) in [(0, 5), (4, 1), (usize::MAX, 2)] {
                assert!(pixels.part(start, len).is_err());
            }
            assert!(pixels.copy(3, &mut out).is_err());
        }
    }

    #[test]
    fn a_file_that_is_cut_short_is_an_error() {
        let (folder, [memory, file]) = both();
        let path = folder.path().join("x");
        assert!(Pixels::in_file(File::open(&path).unwrap(), &path, 3, 10).is_err());
        File::options().write(true).open(&path).unwrap().set_len(5).unwrap();
        let error = file.all().unwrap_err().to_string();
        assert!(error.starts_with("reading ") && error.contains("/x: "), "{error}");
        assert!(file != memory && file.part(0, 4).is_ok());
    }
}
