//! Large arrays as images of bytes in the cache folder, so that they need not be in memory.
//!
//! A file there has the pixels alone, `[n, channels, height, width]`. An index beside it says which
//! file they came from, its length and time, and their SHA-256; where one of these is another now,
//! they are read again. The folder may be deleted at any time.

use super::container::Named;
use super::convert::{self, Layout};
use foil::data::{Pixels, Reading};
use foil::hash::{file_hash, hash};
use foil::{AtPath, Error, Result, atomic, regular};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Bytes of images from which they are kept in a file.
pub const LARGE: usize = 256 << 20;
/// A file that was written a moment ago may be written again without a new time.
const SETTLED: Duration = Duration::from_secs(2);

/// What was read of an array.
pub struct Found {
    /// `[channels, height, width]`.
    pub image: [usize; 3],
    /// `[n, channels, height, width]`.
    pub pixels: Pixels,
    /// Their SHA-256.
    pub sha256: String,
}

/// The images of an array: in memory, or where they take `large` bytes and more in a file of the
/// folder `cache`. Where that cannot be written they are in memory all the same.
///
/// # Errors
/// Those of reading the array.
pub fn images(named: &Named, layout: Layout, cache: &Path, large: usize, progress: &Reading) -> Result<Found> {
    let header = named.header()?;
    let image = convert::order(&header, layout).map_err(|error| named.about(error))?.image;
    let length = image.iter().product::<usize>().checked_mul(header.shape[0]);
    let length = length.ok_or_else(|| named.about(Error::new("it is too large")))?;
    if length >= large {
        let place = Place::of(named, layout, cache)?;
        if let Some((pixels, sha256)) = place.load(length) {
            progress.advance(header.shape[0] as u64);
            return Ok(Found { image, pixels, sha256 });
        }
        match place.write(named, layout, length, progress)? {
            Ok((pixels, sha256)) => return Ok(Found { image, pixels, sha256 }),
            Err(error) => tracing::warn!("the images of {named} stay in memory: {error}"),
        }
    }
    let (image, pixels) = named.with(|header, from| convert::images(header, from, layout, progress))?;
    let sha256 = hash(&pixels);
    Ok(Found { image, pixels: pixels.into(), sha256 })
}

/// Where the images of an array are kept.
struct Place {
    pixels: PathBuf,
    index: PathBuf,
    /// The array's file as it is now.
    facts: String,
    /// Whether a change of it would show.
    settled: bool,
}

impl Place {
    fn of(named: &Named, layout: Layout, cache: &Path) -> Result<Self> {
        let path = named.path.canonicalize().at("opening", &named.path)?;
        let found = path.metadata().at("reading", &path)?;
        let time = found.modified().ok();
        let nanos = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |age| age.as_nanos());
        let key = hash(format!("{}\n{}\n{layout:?}\n", path.display(), named.key).as_bytes());
        Ok(Self {
            pixels: cache.join(format!("{key}.pixels")),
            index: cache.join(format!("{key}.index")),
            facts: format!("{} {nanos}", found.len()),
            settled: time.is_some_and(|time| time.elapsed().is_ok_and(|age| age > SETTLED)),
        })
    }

    /// The `length` bytes that are kept, and their SHA-256, if they are those of the array.
    fn load(&self, length: usize) -> Option<(Pixels, String)> {
        let known = regular::read_to_string(&self.index, 1 << 10).ok()?;
        let mut lines = known.lines();
        let (facts, sha256) = (lines.next()?, lines.next()?);
        if facts != self.facts {
            return None;
        }
        let file = regular::open(&self.pixels).ok()?;
        let is_whole = file.metadata().is_ok_and(|found| found.len() == length as u64);
        let is_sound = || file_hash(&self.pixels).is_ok_and(|found| found == sha256);
        (is_whole && is_sound()).then_some(())?;
        Some((Pixels::in_file(file, &self.pixels, 0, length).ok()?, sha256.to_string()))
    }

    /// Writes the images, and gives them back from the file; what hinders that is the second error.
    ///
    /// # Errors
    /// Those of reading the array.
    #[allow(clippy::type_complexity)]
    fn write(
        &self,
        named: &Named,
        layout: Layout,
        length: usize,
        progress: &Reading,
    ) -> Result<io::Result<(Pixels, String)>> {
        let (mut unread, mut done) = (None, 0);
        let folder = self.pixels.parent().unwrap_or(Path::new("."));
        let written = std::fs::create_dir_all(folder).and_then(|()| {
            atomic::write_with(&self.pixels, |to| {
                let (mut to, mut failed) = (BufWriter::with_capacity(1 << 20, to), None);
                let read = named.with(|header, from| {
                    convert::each(header, from, layout, &mut |_, _, image| {
                        progress.advance(1);
                        done += 1;
                        to.write_all(image).map_err(|error| {
                            let shown = Error::of(&error);
                            failed = Some(error);
                            shown
                        })
                    })
                });
                match (failed, read) {
                    (Some(failed), _) => Err(failed),
                    (None, Err(error)) => {
                        unread = Some(error);
                        Err(io::Error::other("the array cannot be read"))
                    }
                    (None, Ok(())) => to.flush(),
                }
            })
        });
        if let Some(error) = unread {
            return Err(error);
        }
        let kept = written.and_then(|()| {
            let sha256 = file_hash(&self.pixels)?;
            if self.settled {
                atomic::write(&self.index, format!("{}\n{sha256}\n", self.facts))?;
            }
            let file = regular::open(&self.pixels)?;
            Ok((Pixels::in_file(file, &self.pixels, 0, length)?, sha256))
        });
        if kept.is_err() {
            // They are read once more.
            progress.expect(done);
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_set::{npy, zipped};
    use std::fs::{self, File};
    use std::time::SystemTime;
    use tempfile::{TempDir, tempdir};

    /// A file as if written a while ago.
    fn write(path: &Path, bytes: &[u8], age: u64) {
        fs::write(path, bytes).unwrap();
        let then = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    /// Two images of 1 x 2 pixels in three colours, channels last, in a packed file.
    fn array(first: u8) -> (TempDir, Named) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x.npz");
        let pixels: Vec<u8> = (first..first + 12).collect();
        write(&path, &zipped(&[("images", npy("|u1", "(2, 1, 2, 3)", &pixels))], true), 100);
        (folder, Named { path, key: "images".into() })
    }

    fn read(named: &Named, cache: &Path, large: usize) -> Found {
        images(named, Layout::Nhwc, cache, large, &Reading::default()).unwrap()
    }

    #[test]
    fn large_arrays_are_in_a_file_and_have_the_bytes_of_small_ones() {
        let ((_folder, named), cache) = (array(0), tempdir().unwrap());
        let (small, large) = (read(&named, cache.path(), 13), read(&named, cache.path(), 12));
        assert!(!small.pixels.is_in_file() && large.pixels.is_in_file());
        assert!(small.pixels == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11] && small.pixels == large.pixels);
        assert_eq!((small.sha256, small.image), (large.sha256, large.image));
    }

    #[test]
    fn the_next_start_takes_the_file_unless_something_changed() {
        let ((_folder, named), cache) = (array(0), tempdir().unwrap());
        let first = read(&named, cache.path(), 1).sha256;
        let ending = |ending: &str| {
            let mut files = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path());
            files.find(|path| path.extension() == Some(ending.as_ref())).unwrap()
        };
        let written = || ending("pixels").metadata().unwrap().modified().unwrap();
        let before = written();
        assert_eq!((read(&named, cache.path(), 1).sha256, written()), (first.clone(), before));

        // Damaged, it is written again.
        let mut bytes = fs::read(ending("pixels")).unwrap();
        bytes[3] ^= 1;
        fs::write(ending("pixels"), &bytes).unwrap();
        assert_eq!(read(&named, cache.path(), 1).sha256, first);
        fs::write(ending("pixels"), &bytes[1..]).unwrap();
        assert_eq!(read(&named, cache.path(), 1).sha256, first);

        // Other images take its place, and one who reads the former ones keeps them.
        let reader = read(&named, cache.path(), 1).pixels;
        let (_other, changed) = array(50);
        write(&named.path, &fs::read(&changed.path).unwrap(), 50);
        let found = read(&named, cache.path(), 1);
        assert!(found.sha256 != first && found.pixels.part(0, 1).unwrap()[0] == 50);
        assert_eq!(reader.part(0, 1).unwrap()[0], 0);
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_kept_is_in_memory_and_what_cannot_be_read_is_an_error() {
        let ((folder, named), file) = (array(0), tempfile::NamedTempFile::new().unwrap());
        assert!(!read(&named, file.path(), 1).pixels.is_in_file());
        let path = folder.path().join("cut.npy");
        let whole = npy("|u1", "(2, 1, 2, 3)", &[0; 12]);
        write(&path, &whole[..whole.len() - 1], 100);
        let (cut, cache) = (Named { path, key: String::new() }, tempdir().unwrap());
        let error = images(&cut, Layout::Nhwc, cache.path(), 1, &Reading::default()).err().unwrap().to_string();
        assert!(error.contains("cut.npy: it is cut short: 1 of 2 images"), "{error}");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "half a file is left");
    }
}
