//! The trait of data sets.

use crate::{Error, Result};
use foil_data::{Dataset, Facts, Located, Remote};
use std::sync::atomic::{AtomicU64, Ordering};

/// A data set: a run's images with their labels, and what is known about them.
///
/// Its [`DataSource::facts`] are the one place where a run, a report or a check looks up the shape
/// of the images, the classes and the rest. Build it with `Config::build`; paths in its settings
/// are [`DataPath`](crate::registry::DataPath)s.
pub trait DataSource: Send {
    /// What is known without reading the images. It is asked for often, and its answer is kept
    /// while a program runs.
    ///
    /// # Errors
    /// When even that needs files, and they are not there.
    fn facts(&self) -> Result<Facts>;

    /// Where it lies on this machine.
    ///
    /// # Errors
    /// When it is not here, with the places searched and what to do.
    fn locate(&self) -> Result<Located>;

    /// Reads all images into memory, and checks them while they are read. `progress` is shown where
    /// this takes long.
    ///
    /// # Errors
    /// When it is not here, or a file is not what it should be, with what was found and expected.
    fn read(&self, progress: &Reading) -> Result<Dataset>;

    /// The parts that an evaluation measures one by one, such as `fog@3`; none for most sets.
    fn parts(&self) -> Vec<String> {
        Vec::new()
    }

    /// Reads one of its parts, as the test images of a set.
    ///
    /// # Errors
    /// As [`DataSource::read`], and when there is no such part.
    fn read_part(&self, part: &str, _progress: &Reading) -> Result<Dataset> {
        Err(Error::new(format!("there is no part `{part}`")))
    }

    /// The files that `foil data get` fetches; none where nothing can be fetched.
    fn remotes(&self) -> Vec<Remote> {
        Vec::new()
    }
}

/// How far the reading of a data set is, counted by the reader and looked at from another
/// thread.
#[derive(Debug, Default)]
pub struct Reading {
    done: AtomicU64,
    of: AtomicU64,
}

impl Reading {
    /// There are `n` more images to read.
    pub fn expect(&self, n: u64) {
        self.of.fetch_add(n, Ordering::Relaxed);
    }

    /// `n` more images were read.
    pub fn advance(&self, n: u64) {
        self.done.fetch_add(n, Ordering::Relaxed);
    }

    /// Images read, and images to read; both 0 until a reader knows.
    pub fn state(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed))
    }
}
