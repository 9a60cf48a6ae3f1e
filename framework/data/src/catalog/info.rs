//! What is known of a data set in the catalog.

use crate::assemble::Assembly;
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::facts::{Counts, Facts, Located, Remote};
use crate::find;
use crate::idx;
use crate::layout::{self, Layout};
use crate::records::Record;
use std::path::Path;

/// One data set that foil knows.
#[derive(Debug)]
pub struct DatasetInfo {
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

impl DatasetInfo {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// What a run needs to know about it.
    pub fn facts(&self) -> Facts {
        Facts {
            name: self.name.into(),
            title: self.title.into(),
            about: self.about.into(),
            class_names: self.class_names.iter().map(|name| name.to_string()).collect(),
            image: self.image,
            counts: self.counts,
            mean: self.mean.into(),
            std: self.std.into(),
            licence: self.licence.into(),
            citation: self.citation.into(),
            homepage: self.homepage.into(),
        }
    }

    /// Where it is: in `folder` (its files, the folder above them, or the archive itself), or with
    /// `None` in one of [`crate::places`].
    ///
    /// # Errors
    /// `NotFound` with the places searched; `PythonPickles` when only the pickled version is there.
    pub fn locate(&'static self, folder: Option<&Path>) -> Result<Located, DataError> {
        let layout = find::find(self, folder)?;
        let mut files = match &layout {
            Layout::Files(folder) | Layout::Strips(folder) => {
                folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).collect()
            }
            Layout::Archive(path) => vec![path.clone()],
            Layout::BuiltIn => Vec::new(),
        };
        files.sort();
        Ok(Located { place: layout.to_string(), files })
    }

    /// Reads it into memory. Anything unusual but readable, such as files other than the published
    /// ones, is noted in [`Dataset::notes`].
    ///
    /// # Errors
    /// [`DataError`], each with what to do about it: not found, files missing, or a file that is
    /// not what it should be.
    pub fn load(&'static self, folder: Option<&Path>) -> Result<Dataset, DataError> {
        layout::read(self, &find::find(self, folder)?)
    }

    /// Names of its published files, unpacked.
    pub fn file_names(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().map(|file| file.name)
    }

    /// The data set from the contents of its published files, which `content` gives by name,
    /// wherever they come from; `origin` says that. `None` stops.
    ///
    /// # Errors
    /// `BadFile` when a content is not what it should be; `Missing` when there is none.
    pub fn assemble(
        &'static self,
        origin: String,
        content: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
    ) -> Result<Dataset, DataError> {
        let place = Path::new(&origin);
        let mut assembly = Assembly::new(self);
        for file in self.files {
            let missing = || DataError::Missing { name: self.name, place: place.into(), files: vec![file.name.into()] };
            let bytes = content(file.name).ok_or_else(missing)?;
            assembly.add(file, &bytes, None).map_err(DataError::bad_file(self.name, &place.join(file.name)))?;
        }
        Ok(assembly.finish(origin))
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
