//! What is known about each data set, as constants: sizes, sums, licence, citation, mirrors.

mod cifar;
mod mnist;
mod names;

use crate::error::DataError;
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
    /// As far as one is stated.
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
    /// Mean of the training pixels per channel, in [0, 1] image units. `mnist_subset` has those of the whole of MNIST, so that
    /// a model normalises its input alike on both.
    pub mean: &'static [f64],
    /// Standard deviation of the training pixels per channel, likewise.
    pub std: &'static [f64],
    /// What a download fetches; empty for what is built in.
    pub remotes: &'static [Remote],
    /// The published files, unpacked: what every layout is turned into and checked against.
    pub(crate) files: &'static [DataFile],
    /// Where the files may lie instead.
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
    /// What to tell about it; `None` for the published content.
    pub note: Option<&'static str>,
}

/// In lower-case hexadecimal.
#[derive(Debug)]
pub(crate) enum Sum {
    Sha256(&'static str),
    Md5(&'static str),
}

/// Other ways in which a data set lies on disk than its published files in the folder itself.
#[derive(Debug)]
pub(crate) struct Forms {
    /// Folders inside the folder that common tools leave them in.
    pub subfolders: &'static [&'static str],
    /// Archives of the published files.
    pub archives: &'static [&'static str],
    /// What shows that only the pickled version is here.
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

/// Every data set that foil knows, by name.
pub fn catalog() -> &'static [&'static Entry] {
    static ALL: [&Entry; 4] = [&cifar::CIFAR10, &cifar::CIFAR100, &mnist::MNIST, &mnist::MNIST_SUBSET];
    &ALL
}

/// The data set of this name.
///
/// # Errors
/// `UnknownName`, with the names that exist.
pub fn entry(name: &str) -> Result<&'static Entry, DataError> {
    let known = || catalog().iter().map(|entry| entry.name).collect();
    let found = catalog().iter().find(|entry| entry.name == name);
    found.copied().ok_or_else(|| DataError::UnknownName { name: name.to_string(), known: known() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_agrees_with_itself() {
        for entry in catalog() {
            let [channels, ..] = entry.image;
            assert_eq!((entry.mean.len(), entry.std.len()), (channels, channels), "{}", entry.name);
            for (split, count) in [(Split::Train, entry.counts.train), (Split::Test, entry.counts.test)] {
                let labelled = entry.files.iter().filter(|f| f.split == split && f.content != Content::IdxImages);
                assert_eq!(labelled.map(|f| f.count).sum::<usize>(), count, "{}", entry.name);
            }
            assert!(entry.remotes.iter().all(|r| r.sha256.len() == 64 && r.mirrors.iter().all(|m| m.ends_with('/'))));
            assert_eq!(entry.is_built_in(), entry.remotes.is_empty());
        }
    }

    #[test]
    fn a_name_written_differently_is_suggested() {
        let error = entry("CIFAR-10").unwrap_err().to_string();
        assert_eq!(
            error,
            "no data set is called `CIFAR-10`\n  help: did you mean `cifar10`? \
             known data sets: cifar10, cifar100, mnist, mnist_subset"
        );
    }
}
