//! From the contents of the published files, whatever they were stored as, to a [`Dataset`].

use crate::catalog::{Content, DataFile, DatasetInfo, Split};
use crate::dataset::{Dataset, FileSum, Images};
use crate::fault::Fault;
use crate::records::Parts;
use crate::{idx, records, sums};

/// Takes the files one by one, in the order of the catalog.
pub(crate) struct Assembly {
    info: &'static DatasetInfo,
    train: Parts,
    test: Parts,
    sums: Vec<FileSum>,
    notes: Vec<String>,
}

impl Assembly {
    pub(crate) fn new(info: &'static DatasetInfo) -> Self {
        let room =
            |n| Parts { pixels: Vec::with_capacity(n * info.image.iter().product::<usize>()), labels: Vec::new() };
        let (train, test) = (room(info.counts.train), room(info.counts.test));
        Assembly { info, train, test, sums: Vec::new(), notes: Vec::new() }
    }

    /// Check the unpacked content of one file and take over what is in it; `stored` is the SHA-256
    /// of the file as it is stored, where that is packed and alone.
    pub(crate) fn add(&mut self, file: &'static DataFile, bytes: &[u8], stored: Option<&str>) -> Result<(), Fault> {
        let [_, height, width] = self.info.image;
        let images = match file.split {
            Split::Train => &mut self.train,
            Split::Test => &mut self.test,
        };
        match file.content {
            Content::IdxImages => {
                images.pixels.extend_from_slice(idx::parse(bytes, &[file.count, height, width])?);
            }
            Content::IdxLabels => {
                let labels = idx::parse(bytes, &[file.count])?;
                for (index, &label) in labels.iter().enumerate() {
                    records::check_label("label", index, label, self.info.classes())?;
                }
                images.labels.extend(labels.iter().copied().map(u16::from));
            }
            Content::Records { coarse_classes } => {
                self.info.record(coarse_classes).parse(bytes, file.count, images)?;
            }
        }
        let (sha256, note) = sums::verify(file, bytes);
        let is_download = stored.is_some_and(|sum| self.info.remotes.iter().any(|remote| remote.sha256 == sum));
        let note = note.filter(|_| !is_download);
        self.sums.push(FileSum { file: file.name.to_string(), sha256 });
        self.notes.extend(note.filter(|note| !self.notes.contains(note)));
        Ok(())
    }

    /// The data set, once every file was added.
    pub(crate) fn finish(self, origin: String) -> Dataset {
        let Assembly { info, train, test, sums, notes } = self;
        let published = notes.is_empty();
        let [train, test] = [train, test].map(|Parts { pixels, labels }| Images::new(pixels, labels, info.image));
        Dataset { facts: info.facts(), train, test, origin, sums, published, notes }
    }
}
