//! Images of one's own as they lie on disk: NumPy's files, safetensors, MATLAB's, pickles,
//! pictures.

use super::{Target, kept, scratch};
use crate::mutate;
use crate::verdict::Verdict;
use fastrand::Rng;
use foil::Result;
use foil::data::{DataSource, Dataset, Images as Read, Reading};
use foil::registry::Component;
use foil_datasets::test_set;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Files of images. The first byte of an input is the number of its [`Form`], the rest the file.
pub struct Images(TempDir);

impl Images {
    pub fn new() -> Self {
        Self(scratch())
    }
}

/// What the changed file is.
#[derive(Clone, Copy)]
enum Form {
    /// A file of the data set with these settings, in which `{}` is its folder.
    Set(&'static str, &'static str),
    /// A picture.
    Picture,
}

const FORMS: [Form; 6] = [
    Form::Set("x.npz", "{ type: arrays, path: {}/x.npz }"),
    Form::Set("x.npy", "{ type: arrays, path: {}/x.npy, labels_path: {}/y.npy }"),
    Form::Set("x.safetensors", "{ type: arrays, path: {}/x.safetensors }"),
    Form::Set("train_32x32.mat", "{ type: svhn, path: {} }"),
    Form::Set("data_batch_1", "{ type: cifar10, path: {} }"),
    Form::Picture,
];

/// Good files of each form.
fn good(form: usize) -> Vec<Vec<u8>> {
    match form {
        0 => vec![test_set::npz(false), test_set::npz(true)],
        1 => vec![test_set::images()],
        2 => vec![test_set::safetensors()],
        3 => vec![test_set::mat(&[("X", &[2, 3], &[1, 2, 3, 4, 5, 6]), ("y", &[2, 1], &[10, 1])])],
        4 => vec![test_set::batch()],
        _ => test_set::pictures(),
    }
}

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
        "images"
    }

    fn about(&self) -> &'static str {
        "images of one's own: .npy, .npz, safetensors, .mat, pickles, PNG, JPEG, WebP"
    }

    fn cases(&self) -> u64 {
        600
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let own = (0u8..)
            .zip(FORMS)
            .flat_map(|(n, _)| good(usize::from(n)).into_iter().map(move |bytes| [vec![n], bytes].concat()));
        [kept("images"), own.collect()].concat()
    }

    fn change(&self, random: &mut Rng, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        let (kind, file) = seed.split_at(seed.len().min(1));
        [kind, &mutate::bytes(random, file, seeds)].concat()
    }

    fn run(&self, input: &[u8]) -> Verdict {
        let (kind, file) = input.split_at(input.len().min(1));
        let n = kind.first().map_or(0, |n| usize::from(*n) % FORMS.len());
        let (name, settings) = match FORMS[n] {
            Form::Set(name, settings) => (name, settings),
            Form::Picture => {
                return match test_set::decode(file) {
                    Ok(pixels) if pixels.len() == 3 * 8 * 8 => Verdict::Taken,
                    Ok(_) => Verdict::Fault("what was decoded is no image".into()),
                    Err(error) => Verdict::refused(&error),
                };
            }
        };
        let folder = self.0.path().join(n.to_string());
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
