//! What a run needs to know about its data set without reading the images.

use std::path::PathBuf;

/// Facts about a data set: all that a pipeline, a report or a record says about it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// In records and tables: `mnist`, `cifar10`, the name of a folder.
    pub name: String,
    /// As in a text: `MNIST`, `CIFAR-10`.
    pub title: String,
    /// What is in it, in a sentence.
    pub about: String,
    /// What each label means, `[classes]`.
    pub class_names: Vec<String>,
    /// `[channels, height, width]`.
    pub image: [usize; 3],
    /// Number of training and of test images.
    pub counts: Counts,
    /// Mean of the training pixels per channel, in [0, 1] image units; empty where it takes reading
    /// the images, see [`crate::Images::moments`].
    pub mean: Vec<f64>,
    /// Standard deviation per channel, likewise.
    pub std: Vec<f64>,
    /// The licence; empty where none is known.
    pub licence: String,
    /// Who to cite; empty where no one is.
    pub citation: String,
    /// Its page; empty where it has none.
    pub homepage: String,
}

impl Facts {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }
}

/// Number of images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
}

/// Where a data set lies on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// A folder, an archive or `built in`, to be shown.
    pub place: String,
    /// The files that it is read from: while their lengths and times are the same, so is the data
    /// set. Empty for what is part of the program.
    pub files: Vec<PathBuf>,
}

/// One file to download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Its name, the same at every mirror and on disk.
    pub file: &'static str,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: &'static str,
    /// Folders that have it, best first, each ending in `/`.
    pub mirrors: &'static [&'static str],
}
