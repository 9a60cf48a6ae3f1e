//! Images of one's own as they lie on disk: NumPy's files, safetensors, MATLAB's, pickles,
//! pictures.

use super::{Target, kept, scratch};
use crate::mutate;
use crate::verdict::Verdict;
use fastrand::Rng;
use foil::Result;
use foil::data::{DataSource, Dataset, Images as Read, Reading};
use foil::registry::Component;
use foil_datasets::test_set::{self, ImageFormat};
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
    /// A picture.
    Picture,
}

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
        kind: Kind::Set("train_32x32.mat", "{ type: svhn, path: {} }"),
        good: || vec![test_set::mat(&[("X", &[2, 3], &[1, 2, 3, 4, 5, 6]), ("y", &[2, 1], &[10, 1])])],
    },
    Format {
        name: "cifar-pickle",
        about: "CIFAR's Python pickles",
        kind: Kind::Set("data_batch_1", "{ type: cifar10, path: {} }"),
        good: || vec![test_set::batch()],
    },
    Format { name: "png", about: "PNG", kind: Kind::Picture, good: || test_set::pictures(ImageFormat::Png) },
    Format { name: "jpg", about: "JPEG", kind: Kind::Picture, good: || test_set::pictures(ImageFormat::Jpeg) },
    Format { name: "webp", about: "WebP", kind: Kind::Picture, good: || test_set::pictures(ImageFormat::WebP) },
];

/// Whether images that were read are some.
fn sound(data: &Dataset) -> bool {
    let classes = data.facts.classes();
    let whole = |images: &Read| {
        images.pixels.len() == images.len() * images.channels * images.height * images.width
            && images.labels.iter().all(|label| usize::from(*label) < classes)
    };
    whole(&data.train) && whole(&data.test)
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
            Kind::Picture => {
                return match test_set::decode(file) {
                    Ok(pixels) if pixels.len() == 3 * 8 * 8 => Verdict::Taken,
                    Ok(_) => Verdict::Fault("what was decoded is no image".into()),
                    Err(error) => Verdict::refused(&error),
                };
            }
        };
        let folder = self.place.path().join(n.to_string());
        let placed = fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join(name), file))
            // What lies beside it.
            .and_then(|()| fs::write(folder.join("y.npy"), test_set::labels()))
            .and_then(|()| fs::write(folder.join("test_32x32.mat"), b""));
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
