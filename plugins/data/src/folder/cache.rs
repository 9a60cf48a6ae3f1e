//! Decoded pictures, kept so that the next start need not decode them.
//!
//! A file is named by the content of the pictures and the settings, so it is never out of date. An
//! index beside it tells from the paths, lengths and times of the pictures which content they had:
//! only where one of these changed are all pictures read again. The folder may be deleted at any
//! time.

use super::walk::Listing;
use foil::data::{Images, Pixels};
use foil::hash::hash;
use foil::{AtPath, Error, Result, atomic, regular};
use std::fs::Metadata;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MAGIC: &[u8; 16] = b"foil pictures 1\n";
/// A file that was written a moment ago may be written again without a new time.
const SETTLED: Duration = Duration::from_secs(2);

/// Where a folder's pictures are kept.
pub struct Place {
    /// SHA-256 of the pictures: their classes, names and bytes.
    pub content: String,
    file: PathBuf,
}

impl Place {
    /// The place for these pictures with these settings.
    ///
    /// # Errors
    /// When a picture cannot be read.
    pub fn of(root: &Path, settings: &str, listing: &Listing) -> Result<Self> {
        Self::within(&foil_data::cache_folder("decoded"), root, settings, listing)
    }

    fn within(cache: &Path, root: &Path, settings: &str, listing: &Listing) -> Result<Self> {
        let home = root.canonicalize().at("opening", root)?;
        let index = cache.join(format!("{}.index", hash(format!("{}\n", home.display()).as_bytes())));
        let (facts, newest) = facts(root, listing)?;
        let known = regular::read_to_string(&index, 1 << 10).unwrap_or_default();
        let mut known = known.lines();
        let content = match (known.next(), known.next()) {
            (Some(stored), Some(content)) if stored == facts => content.to_string(),
            _ => {
                let content = content(root, listing)?;
                let settled = newest.is_none_or(|newest| newest.elapsed().is_ok_and(|age| age > SETTLED));
                let kept = || {
                    std::fs::create_dir_all(cache)?;
                    atomic::write(&index, format!("{facts}\n{content}\n"))
                };
                if settled && let Err(error) = kept() {
                    tracing::warn!("{}: {error}", index.display());
                }
                content
            }
        };
        let file = cache.join(format!("{}.images", hash(format!("{content}\n{settings}\n").as_bytes())));
        Ok(Self { content, file })
    }

    /// The decoded pictures, training and test, if they are kept here. They stay in the file.
    pub fn load(&self, listing: &Listing, image: [usize; 3]) -> Option<(Images, Images)> {
        let mut file = regular::open(&self.file).ok()?;
        let size: usize = image.iter().product();
        let [train, test] = [&listing.train, &listing.test].map(|pictures| pictures.len().checked_mul(size));
        let (train, test) = (train?, test?);
        let end = MAGIC.len() + train.checked_add(test)?;
        if file.metadata().ok()?.len() != (end + 16) as u64 {
            return None;
        }
        let (mut magic, mut sums) = ([0; 16], [0; 16]);
        file.read_exact(&mut magic).ok()?;
        file.read_exact_at(&mut sums, end as u64).ok()?;
        let part = |start, len| Pixels::in_file(file.try_clone()?, &self.file, start as u64, len);
        let parts = [part(MAGIC.len(), train).ok()?, part(MAGIC.len() + train, test).ok()?];
        let found = [checksum(&parts[0]).ok()?, checksum(&parts[1]).ok()?].concat();
        (magic == *MAGIC && sums[..] == found).then(|| listing.images(parts, image))
    }

    /// Keeps the decoded pictures of all files, and gives them back from the file. Where they
    /// cannot be kept they are in memory, and the next start decodes them again.
    pub fn keep(&self, listing: &Listing, mut pixels: Vec<u8>, image: [usize; 3]) -> (Images, Images) {
        let train = listing.train.len() * image.iter().product::<usize>();
        let written = std::fs::create_dir_all(self.file.parent().unwrap_or(Path::new("."))).and_then(|()| {
            atomic::write_with(&self.file, |to| {
                let (train, test) = pixels.split_at(train);
                to.write_all(MAGIC)?;
                to.write_all(&pixels)?;
                to.write_all(&sum(FIRST, train).to_le_bytes())?;
                to.write_all(&sum(FIRST, test).to_le_bytes())
            })
        });
        if let Err(error) = written {
            tracing::warn!("the decoded pictures are not kept: {}: {error}", self.file.display());
        }
        self.load(listing, image).unwrap_or_else(|| {
            let test = pixels.split_off(train);
            listing.images([pixels, test], image)
        })
    }
}

/// The sum of no bytes.
const FIRST: u64 = 0xcbf2_9ce4_8422_2325;

/// To notice a disk's fault: FNV-1a over words of 8 bytes.
fn sum(sum: u64, bytes: &[u8]) -> u64 {
    let step = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(sum, |sum, word| step(sum, u64::from_le_bytes(*word)));
    match rest {
        [] => sum,
        _ => step(sum, rest.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte))),
    }
}

/// That of all pixels.
fn checksum(pixels: &Pixels) -> std::io::Result<[u8; 8]> {
    let mut found = FIRST;
    pixels.pieces(8, &mut |piece| found = sum(found, piece))?;
    Ok(found.to_le_bytes())
}

/// A hash of the pictures' paths, lengths and times, and the latest time.
fn facts(root: &Path, listing: &Listing) -> Result<(String, Option<SystemTime>)> {
    let (mut lines, mut newest) = (String::new(), None);
    for path in listing.files() {
        let found: Metadata = path.metadata().at("reading", path)?;
        let time = found.modified().ok();
        newest = newest.max(time);
        let nanos = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |age| age.as_nanos());
        let own = path.strip_prefix(root).unwrap_or(path);
        lines += &format!("{} {} {nanos}\n", own.display(), found.len());
    }
    Ok((hash(lines.as_bytes()), newest))
}

/// A hash of the pictures' splits, classes, paths and bytes, read in parallel.
fn content(root: &Path, listing: &Listing) -> Result<String> {
    let files: Vec<&Path> = listing.files().collect();
    let mut sums = vec![Ok(String::new()); files.len()];
    let work = Mutex::new(files.iter().zip(sums.iter_mut()));
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((path, sum)) = next() {
                    *sum = foil::hash::file_hash(path).map_err(|error| error.to_string());
                }
            });
        }
    });
    let mut lines = String::new();
    for ((path, sum), number) in files.iter().zip(sums).zip(0..) {
        let sum = sum.map_err(|error| Error::new(format!("reading {}: {error}", path.display())))?;
        let own = path.strip_prefix(root).unwrap_or(path);
        let split = if number < listing.train.len() { "train" } else { "test" };
        lines += &format!("{split} {} {sum}\n", own.display());
    }
    Ok(hash((lines + &listing.classes.join("\n")).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::walk::list;
    use super::*;
    use std::fs::{self, File};

    fn aged(path: &Path) {
        let then = SystemTime::now() - Duration::from_secs(100);
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    fn pictures() -> (tempfile::TempDir, Listing) {
        let folder = tempfile::tempdir().unwrap();
        for file in ["train/a/1.png", "train/b/2.png", "test/b/3.png"] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file).unwrap();
            aged(&path);
        }
        let listing = list(folder.path()).unwrap();
        (folder, listing)
    }

    #[test]
    fn what_is_kept_is_found_until_a_picture_or_the_settings_change() {
        let ((folder, listing), cache) = (pictures(), tempfile::tempdir().unwrap());
        let place = |settings: &str| Place::within(cache.path(), folder.path(), settings, &listing).unwrap();
        assert!(place("x").load(&listing, [3, 1, 1]).is_none());
        let expected = listing.images([vec![0, 1, 2, 3, 4, 5], vec![6, 7, 8]], [3, 1, 1]);
        let kept = place("x").keep(&listing, (0..9).collect(), [3, 1, 1]);
        assert!(kept == expected && kept.0.pixels.is_in_file() && kept.1.pixels.is_in_file());
        assert_eq!(place("x").load(&listing, [3, 1, 1]), Some(expected));
        assert!(place("y").load(&listing, [3, 1, 1]).is_none(), "other settings");

        let before = place("x").content;
        fs::write(folder.path().join("train/a/1.png"), "TRAIN/a/1.png").unwrap();
        assert_ne!(place("x").content, before, "another time");
        aged(&folder.path().join("train/a/1.png"));
        assert_ne!(place("x").content, before, "read again, since the time changed");
        assert!(place("x").load(&listing, [3, 1, 1]).is_none());
    }

    #[test]
    fn the_same_pictures_elsewhere_are_the_same_content() {
        let cache = tempfile::tempdir().unwrap();
        let content = |(folder, listing): &(tempfile::TempDir, Listing)| {
            Place::within(cache.path(), folder.path(), "x", listing).unwrap().content
        };
        assert_eq!(content(&pictures()), content(&pictures()));
    }

    #[test]
    fn pictures_that_cannot_be_kept_are_in_memory() {
        let ((folder, listing), cache) = (pictures(), tempfile::NamedTempFile::new().unwrap());
        let place = Place::within(cache.path(), folder.path(), "x", &listing).unwrap();
        let (train, test) = place.keep(&listing, (0..9).collect(), [3, 1, 1]);
        assert!(!train.pixels.is_in_file() && train.pixels == [0, 1, 2, 3, 4, 5] && test.pixels == [6, 7, 8]);
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let ((folder, listing), cache) = (pictures(), tempfile::tempdir().unwrap());
        let place = Place::within(cache.path(), folder.path(), "x", &listing).unwrap();
        place.keep(&listing, (0..9).collect(), [3, 1, 1]);
        let mut bytes = fs::read(&place.file).unwrap();
        bytes[20] ^= 1;
        fs::write(&place.file, &bytes).unwrap();
        assert!(place.load(&listing, [3, 1, 1]).is_none());
        fs::write(&place.file, &bytes[..22]).unwrap();
        assert!(place.load(&listing, [3, 1, 1]).is_none());
    }
}
