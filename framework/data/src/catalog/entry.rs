//! The shape of an entry of the catalog.

use crate::idx;
use crate::records::Record;

/// One data set that foil knows.
#[derive(Debug)]
pub struct Entry {
    /// As in a config: `cifar10`.
    pub name: &'static str,
    /// As in a text: `CIFAR-10`.
    pub title: &'static str,
    /// What is in it, in a sentence.
    pub about: &'static str,
    /// The licence, if one is stated.
    pub licence: &'static str,
    /// Who to cite.
    pub citation: &'static str,
    /// Its page.
    pub homepage: &'static str,
    /// What each label means, `[classes]`.
    pub class_names: &'static [&'static str],
    /// `[channels, height, width]`.
    pub image: [usize; 3],
    /// Number of training and of test images.
    pub counts: Counts,
    /// Mean of the training pixels per channel, in [0, 1] image units. `mnist_subset` has those of
    /// the whole of MNIST, so that a model normalises its input the same way on both.
    pub mean: &'static [f64],
    /// Standard deviation of the training pixels per channel, likewise.
    pub std: &'static [f64],
    /// What a download fetches; empty for what is built in.
    pub remotes: &'static [Remote],
    /// The published files, unpacked: what every layout is turned into and checked against.
    pub(crate) files: &'static [DataFile],
    /// Other forms of the files.
    pub(crate) forms: Forms,
}

/// Number of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
}

/// One file to download.
#[derive(Debug)]
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

/// One published file, unpacked.
#[derive(Debug)]
pub(crate) struct DataFile {
    pub name: &'static str,
    pub split: Split,
    /// Images or labels in it.
    pub count: usize,
    pub content: Content,
    pub known: &'static [Known],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    Train,
    Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    IdxImages,
    IdxLabels,
    /// CIFAR's records; `coarse_classes` as in [`Record`].
    Records {
        coarse_classes: usize,
    },
}

/// A content that is recognised.
#[derive(Debug)]
pub(crate) struct Known {
    pub sum: Sum,
    /// A note about it; `None` for the published content.
    pub note: Option<&'static str>,
}

/// In lower-case hexadecimal.
#[derive(Debug)]
pub(crate) enum Sum {
    Sha256(&'static str),
    Md5(&'static str),
}

/// Other forms of a data set on disk than its published files in the folder itself.
#[derive(Debug)]
pub(crate) struct Forms {
    /// Folders inside the folder that common tools leave them in.
    pub subfolders: &'static [&'static str],
    /// Archives of the published files.
    pub archives: &'static [&'static str],
    /// Files that show that only the pickled version is here.
    pub pickles: &'static [&'static str],
    /// train.tar and test.tar of WebP strips, built in.
    pub built_in: Option<BuiltIn>,
    /// Whether such tars may lie in the folder.
    pub strips: bool,
}

/// The content of the two tars.
pub(crate) struct BuiltIn {
    pub train: &'static [u8],
    pub test: &'static [u8],
}

impl Entry {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// Bytes that a download fetches; 0 for what is built in.
    pub fn download_bytes(&self) -> u64 {
        self.remotes.iter().map(|remote| remote.bytes).sum()
    }

    /// Whether it comes with foil and needs no file.
    pub fn is_built_in(&self) -> bool {
        self.forms.built_in.is_some()
    }

    /// How the records of this set look.
    pub(crate) fn record(&self, coarse_classes: usize) -> Record {
        Record { coarse_classes, classes: self.classes(), pixels: self.image.iter().product() }
    }

    /// Length in bytes of one of its files, unpacked.
    pub(crate) fn length_of(&self, file: &DataFile) -> usize {
        let [_, height, width] = self.image;
        match file.content {
            Content::IdxImages => idx::file_length(&[file.count, height, width]),
            Content::IdxLabels => idx::file_length(&[file.count]),
            Content::Records { coarse_classes } => file.count * self.record(coarse_classes).length(),
        }
    }
}

impl std::fmt::Debug for BuiltIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} + {} bytes", self.train.len(), self.test.len())
    }
}
