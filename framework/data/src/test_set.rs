//! Two tiny data sets for tests and fuzzing, in every layout: `records` (CIFAR's format, 2 x 2
//! colour) and `digits` (MNIST's, 2 x 2 grey).

use crate::catalog::{Content, DataFile, DatasetInfo, Forms, Split};
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::facts::Counts;
use crate::layout;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::Path;

/// Three classes, two training files of 500 and 3 records and a test file of 2.
pub static RECORDS: DatasetInfo = DatasetInfo {
    name: "records",
    title: "Records",
    image: [3, 2, 2],
    counts: Counts { train: 503, test: 2 },
    mean: &[0.5, 0.5, 0.5],
    std: &[0.5, 0.5, 0.5],
    files: &[
        file("train.bin", Split::Train, 500, Content::Records { coarse_classes: 0 }),
        file("more.bin", Split::Train, 3, Content::Records { coarse_classes: 0 }),
        file("test.bin", Split::Test, 2, Content::Records { coarse_classes: 0 }),
    ],
    forms: Forms {
        subfolders: &["records-bin"],
        archives: &["records.tar.gz"],
        pickles: &["records-py"],
        built_in: None,
        strips: true,
    },
    ..BASE
};

/// Three classes, three training images and two test images.
pub static DIGITS: DatasetInfo = BASE;

const BASE: DatasetInfo = DatasetInfo {
    name: "digits",
    title: "Digits",
    about: "for the tests",
    licence: "",
    citation: "",
    homepage: "",
    class_names: &["a", "b", "c"],
    image: [1, 2, 2],
    counts: Counts { train: 3, test: 2 },
    mean: &[0.5],
    std: &[0.5],
    remotes: &[],
    files: &[
        file("train-images", Split::Train, 3, Content::IdxImages),
        file("train-labels", Split::Train, 3, Content::IdxLabels),
        file("test-images", Split::Test, 2, Content::IdxImages),
        file("test-labels", Split::Test, 2, Content::IdxLabels),
    ],
    forms: Forms { subfolders: &["raw"], archives: &[], pickles: &[], built_in: None, strips: false },
};

const fn file(name: &'static str, split: Split, count: usize, content: Content) -> DataFile {
    DataFile { name, split, count, content, known: &[] }
}

/// Reads one of them from a folder or an archive, as
/// [`DatasetInfo::load`](crate::DatasetInfo::load) reads the real ones.
///
/// # Errors
/// As that.
pub fn load(info: &'static DatasetInfo, place: &Path) -> Result<Dataset, DataError> {
    let looked = || DataError::NotFound { name: info.name, download_bytes: 0, looked: vec![place.into()] };
    layout::read(info, &layout::detect(info, place).ok_or_else(looked)?)
}

/// An IDX file with these sizes.
pub fn idx(sizes: &[u32], content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(content);
    bytes
}

/// `bytes`, gzipped.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A tar of these files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Write a file, and the folders it lies in.
pub fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// The four files of [`DIGITS`], by name.
pub fn digits() -> [(&'static str, Vec<u8>); 4] {
    [
        ("train-images", idx(&[3, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])),
        ("train-labels", idx(&[3], &[0, 1, 2])),
        ("test-images", idx(&[2, 2, 2], &[255, 254, 253, 252, 0, 0, 0, 1])),
        ("test-labels", idx(&[2], &[2, 0])),
    ]
}

/// `n` records of [`RECORDS`], every one different.
pub fn some_records(n: usize, seed: usize) -> Vec<u8> {
    (0..n)
        .flat_map(|i| {
            std::iter::once(((i + seed) % 3) as u8).chain((0..12).map(move |p| (7 * i + 31 * p + seed) as u8))
        })
        .collect()
}

/// The three files of [`RECORDS`], by name.
pub fn record_files() -> [(&'static str, Vec<u8>); 3] {
    [("train.bin", some_records(500, 1)), ("more.bin", some_records(3, 2)), ("test.bin", some_records(2, 3))]
}

/// A tar of strips with the content of these record files.
pub fn strips(records: &[u8]) -> Vec<u8> {
    let records: Vec<_> = records.chunks_exact(13).collect();
    let labels: Vec<u8> = records.iter().map(|record| record[0]).collect();
    let strips: Vec<_> =
        records.chunks(500).enumerate().map(|(i, some)| (format!("{i:03}.webp"), strip(some))).collect();
    let mut files = vec![("labels.bin", &labels[..])];
    files.extend(strips.iter().map(|(name, webp)| (&name[..], &webp[..])));
    tar(&files)
}

/// The WebP strip of these records.
pub fn strip(records: &[&[u8]]) -> Vec<u8> {
    let interleaved =
        |record: &[u8]| (0..4).flat_map(|p| [record[1 + p], record[5 + p], record[9 + p]]).collect::<Vec<_>>();
    let pixels: Vec<u8> = records.iter().flat_map(|record| interleaved(record)).collect();
    let mut webp = Vec::new();
    let encoder = image_webp::WebPEncoder::new(&mut webp);
    encoder.encode(&pixels, 2, 2 * records.len() as u32, image_webp::ColorType::Rgb8).unwrap();
    webp
}
