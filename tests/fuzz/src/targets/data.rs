//! Data sets as they lie on disk: MNIST's and CIFAR's formats, of two tiny sets.

use super::{Target, kept, scratch};
use crate::mutate;
use crate::verdict::Verdict;
use fastrand::Rng;
use foil_data::test_set::{DIGITS, RECORDS, digits, gzip, load, record_files, strips, tar};
use foil_data::{Dataset, DatasetInfo};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Files of data sets: of all formats, or of one. The first byte of an input is the number of its
/// [`FORMS`], the rest the file.
pub struct Data {
    place: TempDir,
    only: Option<&'static Format>,
}

impl Data {
    pub fn new() -> Self {
        Self { place: scratch(), only: None }
    }

    /// Each format by itself.
    pub fn each() -> impl Iterator<Item = Self> {
        FORMATS.iter().map(|format| Self { only: Some(format), ..Self::new() })
    }
}

/// Some of the [`FORMS`].
struct Format {
    /// As the command line calls it.
    name: &'static str,
    about: &'static str,
    forms: std::ops::Range<usize>,
}

static FORMATS: [Format; 3] = [
    Format { name: "idx", about: "MNIST's IDX, plain and gzipped", forms: 0..6 },
    Format { name: "cifar-binary", about: "CIFAR's records, plain, gzipped and in a tar", forms: 6..11 },
    Format { name: "strips", about: "strips of WebP in a tar", forms: 11..13 },
];

/// What the changed file is: its name in a folder of its own, and whether it is packed after the
/// change, so that checksums hold.
struct Form {
    set: &'static DatasetInfo,
    file: &'static str,
    packed: bool,
}

const fn form(set: &'static DatasetInfo, file: &'static str, packed: bool) -> Form {
    Form { set, file, packed }
}

static FORMS: [Form; 13] = [
    form(&DIGITS, "train-images", false),
    form(&DIGITS, "train-labels", false),
    form(&DIGITS, "test-images", false),
    form(&DIGITS, "test-labels", false),
    form(&DIGITS, "train-images.gz", false),
    form(&DIGITS, "train-labels.gz", true),
    form(&RECORDS, "train.bin", false),
    form(&RECORDS, "more.bin", false),
    form(&RECORDS, "test.bin.gz", true),
    form(&RECORDS, "records.tar.gz", false),
    form(&RECORDS, "records.tar.gz", true),
    form(&RECORDS, "train.tar", false),
    form(&RECORDS, "test.tar", true),
];

/// The good files of a form's folder, unpacked where they are packed later.
fn good(form: &Form) -> Vec<(String, Vec<u8>)> {
    let files: Vec<(&str, Vec<u8>)> = if form.set.name == "digits" { digits().into() } else { record_files().into() };
    let [.., test] = files.as_slice() else { return Vec::new() };
    let train: Vec<u8> = files[..files.len() - 1].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    match form.file {
        "records.tar.gz" => {
            let members: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
            let whole = tar(&members);
            vec![(form.file.into(), if form.packed { whole } else { gzip(&whole) })]
        }
        "train.tar" | "test.tar" => {
            vec![("train.tar".into(), strips(&train)), ("test.tar".into(), strips(&test.1))]
        }
        _ => {
            let own = |(name, bytes): &(&str, Vec<u8>)| match form.file.strip_suffix(".gz") {
                Some(bare) if bare == *name => {
                    (form.file.into(), if form.packed { bytes.clone() } else { gzip(bytes) })
                }
                _ => ((*name).to_string(), bytes.clone()),
            };
            files.iter().map(own).collect()
        }
    }
}

/// Whether a data set that was read is one.
fn sound(info: &DatasetInfo, data: &Dataset) -> bool {
    [(&data.train, info.counts.train), (&data.test, info.counts.test)].iter().all(|(images, n)| {
        let size: usize = info.image.iter().product();
        images.labels.len() == *n
            && images.pixels.len() == n * size
            && images.labels.iter().all(|label| usize::from(*label) < info.classes())
    })
}

impl Target for Data {
    fn name(&self) -> &'static str {
        self.only.map_or("data", |format| format.name)
    }

    fn about(&self) -> &'static str {
        self.only.map_or("data sets: IDX, CIFAR's records, gzip, tar, strips of WebP", |format| format.about)
    }

    fn cases(&self) -> u64 {
        600
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let is_tried = |n: u8| self.only.is_none_or(|format| format.forms.contains(&usize::from(n)));
        let own = FORMS.iter().zip(0u8..).filter(|(_, n)| is_tried(*n)).filter_map(|(form, n)| {
            let (_, bytes) = good(form).into_iter().find(|(name, _)| name == form.file)?;
            Some([vec![n], bytes].concat())
        });
        let kept = kept("data").into_iter().filter(|input| input.first().is_some_and(|n| is_tried(*n)));
        kept.chain(own).collect()
    }

    fn change(&self, random: &mut Rng, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        let (kind, file) = seed.split_at(seed.len().min(1));
        [kind, &mutate::bytes(random, file, seeds)].concat()
    }

    fn run(&self, input: &[u8]) -> Verdict {
        let (kind, file) = input.split_at(input.len().min(1));
        let n = kind.first().map_or(0, |n| usize::from(*n) % FORMS.len());
        let (form, folder) = (&FORMS[n], self.place.path().join(n.to_string()));
        if let Err(error) = place(form, &folder, file) {
            return Verdict::Fault(format!("the input could not be written: {error}"));
        }
        match load(form.set, &folder) {
            Ok(data) if sound(form.set, &data) => Verdict::Taken,
            Ok(_) => Verdict::Fault("what was read is no data set".into()),
            Err(error) => Verdict::refused(&error.into()),
        }
    }
}

/// Writes the file into its folder, with the others when it is the first.
fn place(form: &Form, folder: &Path, file: &[u8]) -> std::io::Result<()> {
    if !folder.exists() {
        fs::create_dir(folder)?;
        for (name, bytes) in good(form) {
            fs::write(folder.join(name), bytes)?;
        }
    }
    fs::write(folder.join(form.file), if form.packed && form.file.ends_with(".gz") { gzip(file) } else { file.into() })
}
