//! Images of one's own as they lie on disk: NumPy's files, safetensors, MATLAB's, pickles,
//! pictures.

use super::{Target, kept, scratch};
use crate::mutate;
use crate::verdict::Verdict;
use fastrand::Rng;
use foil::Result;
use foil::data::{DataSource, Dataset, Images as Read, Reading};
use foil::registry::Component;
use foil_datasets::test_set::{self, ImageFormat, LITTLE_PIXELS};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Files of images: of all formats, or of one. The first byte of an input is the number of its
/// [`Format`], the rest the file.
pub struct Images {
    place: TempDir,
    only: Option<usize>,
}

impl Images {
    pub fn new() -> Self {
        Self { place: scratch(), only: None }
    }

    /// Each format by itself.
    pub fn each() -> impl Iterator<Item = Self> {
        (0..FORMATS.len()).map(|n| Self { only: Some(n), ..Self::new() })
    }
}

struct Format {
    /// As the command line calls it.
    name: &'static str,
    about: &'static str,
    kind: Kind,
    good: fn() -> Vec<Vec<u8>>,
}

/// What the changed file is.
enum Kind {
    /// A file of this name of the data set with these settings, in which `{}` is its folder.
    Set(&'static str, &'static str),
    /// A file that this reads, and whether what it read is images; for files that are much smaller
    /// than the data set's own.
    File(fn(&[u8]) -> Result<bool>),
}

/// A picture is decoded to 8 x 8 in colour.
const PICTURE: Kind = Kind::File(|file| Ok(test_set::decode(file)?.len() == 3 * 8 * 8));

static FORMATS: [Format; 8] = [
    Format {
        name: "npz",
        about: "NumPy's .npz, packed and not",
        kind: Kind::Set("x.npz", "{ type: arrays, path: {}/x.npz }"),
        good: || vec![test_set::npz(false), test_set::npz(true)],
    },
    Format {
        name: "npy",
        about: "NumPy's .npy",
        kind: Kind::Set("x.npy", "{ type: arrays, path: {}/x.npy, labels_path: {}/y.npy }"),
        good: || vec![test_set::images()],
    },
    Format {
        name: "image-safetensors",
        about: "images in safetensors",
        kind: Kind::Set("x.safetensors", "{ type: arrays, path: {}/x.safetensors }"),
        good: || vec![test_set::safetensors()],
    },
    Format {
        name: "mat",
        about: "MATLAB's .mat, as SVHN is published",
        kind: Kind::File(|file| Ok(is_whole(&test_set::read_svhn(file)?, 10))),
        good: || vec![test_set::svhn(false), test_set::svhn(true)],
    },
    Format {
        name: "cifar-pickle",
        about: "CIFAR's Python pickles",
        kind: Kind::File(|file| Ok(test_set::read_batch(file)?.len() % (1 + LITTLE_PIXELS) == 0)),
        good: || vec![test_set::batch()],
    },
    Format { name: "png", about: "PNG", kind: PICTURE, good: || test_set::pictures(ImageFormat::Png) },
    Format { name: "jpg", about: "JPEG", kind: PICTURE, good: || test_set::pictures(ImageFormat::Jpeg) },
    Format { name: "webp", about: "WebP", kind: PICTURE, good: || test_set::pictures(ImageFormat::WebP) },
];

/// Whether there are as many pixels as images, and the labels are of `classes`.
fn is_whole(images: &Read, classes: usize) -> bool {
    images.pixels.len() == images.len() * images.channels * images.height * images.width
        && images.labels.iter().all(|label| usize::from(*label) < classes)
}

/// Whether images that were read are some.
fn sound(data: &Dataset) -> bool {
    let classes = data.facts.classes();
    is_whole(&data.train, classes) && is_whole(&data.test, classes)
}

fn read(settings: &str, folder: &Path) -> Result<Dataset> {
    let yaml = settings.replace("{}", &folder.display().to_string());
    let set: Component<dyn DataSource> = serde_yaml::from_str(&yaml).map_err(foil::Error::of)?;
    set.build_alone()?.read(&Reading::default())
}

impl Target for Images {
    fn name(&self) -> &'static str {
        self.only.map_or("images", |n| FORMATS[n].name)
    }

    fn about(&self) -> &'static str {
        let all = "images of one's own: .npy, .npz, safetensors, .mat, pickles, PNG, JPEG, WebP";
        self.only.map_or(all, |n| FORMATS[n].about)
    }

    fn cases(&self) -> u64 {
        600
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let is_tried = |n: usize| self.only.is_none_or(|only| only == n);
        let formats = (0u8..).zip(&FORMATS).filter(|(n, _)| is_tried(usize::from(*n)));
        let own = formats.flat_map(|(n, format)| (format.good)().into_iter().map(move |file| [vec![n], file].concat()));
        let kept = kept("images").into_iter().filter(|input| input.first().is_some_and(|n| is_tried(usize::from(*n))));
        kept.chain(own).collect()
    }

    fn change(&self, random: &mut Rng, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        let (kind, file) = seed.split_at(seed.len().min(1));
        [kind, &mutate::bytes(random, file, seeds)].concat()
    }

    fn run(&self, input: &[u8]) -> Verdict {
        let (kind, file) = input.split_at(input.len().min(1));
        let n = kind.first().map_or(0, |n| usize::from(*n) % FORMATS.len());
        let (name, settings) = match FORMATS[n].kind {
            Kind::Set(name, settings) => (name, settings),
            Kind::File(read) => {
                return match read(file) {
                    Ok(true) => Verdict::Taken,
                    Ok(false) => Verdict::Fault("what was read are no images".into()),
                    Err(error) => Verdict::refused(&error),
                };
            }
        };
        let folder = self.place.path().join(n.to_string());
        let placed = fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join(name), file))
            // What lies beside it.
            .and_then(|()| fs::write(folder.join("y.npy"), test_set::labels()));
        if let Err(error) = placed {
            return Verdict::Fault(format!("the input could not be written: {error}"));
        }
        match read(settings, &folder) {
            Ok(data) if sound(&data) => Verdict::Taken,
            Ok(_) => Verdict::Fault("what was read is no data set".into()),
            Err(error) => Verdict::refused(&error),
        }
    }
}
