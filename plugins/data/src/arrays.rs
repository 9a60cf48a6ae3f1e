//! Images and labels as arrays of numbers: NumPy's files, and safetensors.

mod container;
mod convert;
mod kept;
pub mod npy;

use container::Named;
pub use convert::{Layout, images, labels};
use foil::data::FileSum;
use foil::prelude::*;
use std::path::PathBuf;

/// Images as arrays of numbers: `.npz`, `.npy` or `.safetensors`, with images `[n, H, W, C]`, `[n,
/// C, H, W]` or `[n, H, W]` as bytes or as floating-point numbers from 0 to 1, and labels `[n]`.
///
/// Images that take 256 MiB and more are kept as bytes in the cache folder, and not in memory. Test
/// images may be in the same file or another. A set that is only mixed into another
/// (`extra`) needs none, and no labels if a network gives them.
#[settings]
pub struct Arrays {
    /// The file with the training images.
    pub path: DataPath,
    /// The name of their array; a `.npy` file has only one.
    #[set(default = "images")]
    pub images: String,
    /// The name of the array of their labels; `null` where there are none.
    #[set(default = Some("labels".to_string()))]
    pub labels: Option<String>,
    /// The file with their labels; by default that of the images.
    #[set(default)]
    pub labels_path: Option<DataPath>,
    /// The file with the test images; by default that of the training images.
    #[set(default)]
    pub test_path: Option<DataPath>,
    /// The name of the array of test images.
    #[set(default = "test_images")]
    pub test_images: String,
    /// The name of the array of their labels.
    #[set(default = "test_labels")]
    pub test_labels: String,
    /// The file with their labels; by default that of the test images.
    #[set(default)]
    pub test_labels_path: Option<DataPath>,
    /// Where the channels are in an array of images.
    #[set(default = Layout::Auto)]
    pub layout: Layout,
    /// What each label means, in order; by default the numbers up to the largest label.
    #[set(default)]
    pub classes: Vec<String>,
    /// The name in tables and records; by default the file's.
    #[set(default)]
    pub name: Option<String>,
}

/// Images and their labels in files.
#[derive(Debug)]
struct Split {
    images: Named,
    /// `None` where there are none.
    labels: Option<Named>,
}

#[derive(Debug)]
struct Files {
    train: Split,
    test: Option<Split>,
    layout: Layout,
    classes: Vec<String>,
    name: String,
}

impl Config<dyn DataSource> for Arrays {
    fn build(&self, cx: &Build) -> Result<Box<dyn DataSource>> {
        let path = cx.place(&self.path);
        let split = |path: &PathBuf, images: &str, labels: Option<&String>, labels_path: &Option<DataPath>| Split {
            images: Named { path: path.clone(), key: images.into() },
            labels: labels.map(|key| Named {
                path: labels_path.as_ref().map_or(path.clone(), |own| cx.place(own)),
                key: key.clone(),
            }),
        };
        let train = split(&path, &self.images, self.labels.as_ref(), &self.labels_path);
        let test_path = self.test_path.as_ref().map_or(path.clone(), |own| cx.place(own));
        let test_labels = self.labels.as_ref().and(Some(&self.test_labels));
        let test = split(&test_path, &self.test_images, test_labels, &self.test_labels_path);
        let named = self.test_path.is_some()
            || (test.images.is_there() && test.images.path.extension() != Some("npy".as_ref()));
        let own = path.file_stem().map_or("arrays".into(), |stem| stem.to_string_lossy().into_owned());
        Ok(Box::new(Files {
            train,
            test: named.then_some(test),
            layout: self.layout,
            classes: self.classes.clone(),
            name: self.name.clone().unwrap_or(own),
        }))
    }
}

register!(dyn DataSource, "arrays", Arrays, "{ path: pictures.safetensors }");

impl Split {
    /// `[channels, height, width]` and the number of images.
    fn shape(&self, layout: Layout) -> Result<([usize; 3], usize)> {
        let header = self.images.header()?;
        let order = convert::order(&header, layout).map_err(|error| self.images.about(error))?;
        Ok((order.image, header.shape[0]))
    }

    /// The images, and the SHA-256 of their pixels and labels.
    fn read(&self, layout: Layout, classes: usize, progress: &Reading) -> Result<(Images, String)> {
        let own = self.labels()?;
        let cache = foil_data::cache_folder("arrays");
        let kept::Found { image, pixels, sha256 } = kept::images(&self.images, layout, &cache, kept::LARGE, progress)?;
        let n = pixels.len() / image.iter().product::<usize>().max(1);
        let labels = match self.labels.as_ref().zip(own) {
            None => vec![0; n],
            Some((place, labels)) if labels.len() != n => {
                let message = format!("{} labels for {n} images in {}", labels.len(), self.images);
                return Err(place.about(Error::new(message)));
            }
            Some((place, labels)) => {
                if let Some((at, label)) = labels.iter().enumerate().find(|(_, label)| usize::from(**label) >= classes)
                {
                    let message = format!("label {at} is {label}, expected 0 to {}", classes.saturating_sub(1));
                    return Err(place.about(Error::new(message)));
                }
                labels
            }
        };
        let bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        let sha256 = sha256 + &foil::hash::hash(&bytes);
        Ok((Images::new(pixels, labels, image), sha256))
    }

    /// `None` where there are none.
    fn labels(&self) -> Result<Option<Vec<u16>>> {
        self.labels.as_ref().map(|labels| labels.with(convert::labels)).transpose()
    }
}

impl Files {
    fn class_names(&self) -> Result<Vec<String>> {
        if !self.classes.is_empty() && self.train.labels.is_some() {
            return Ok(self.classes.clone());
        }
        let Some(labels) = self.train.labels()? else { return Ok(Vec::new()) };
        let largest = labels.into_iter().max().unwrap_or(0);
        Ok((0..=largest).map(|class| class.to_string()).collect())
    }

    fn splits(&self) -> impl Iterator<Item = &Split> {
        std::iter::once(&self.train).chain(&self.test)
    }
}

impl DataSource for Files {
    fn facts(&self) -> Result<Facts> {
        let (image, train) = self.train.shape(self.layout)?;
        let test = self.test.as_ref().map(|test| test.shape(self.layout)).transpose()?;
        if let Some((other, _)) = test.filter(|(other, _)| *other != image) {
            return Err(Error::new(format!("the test images are {other:?}, the training images {image:?}")));
        }
        Ok(Facts {
            name: self.name.clone(),
            title: self.name.clone(),
            about: format!("arrays in {}", self.train.images.path.display()),
            class_names: self.class_names()?,
            image,
            counts: Counts { train, test: test.map_or(0, |(_, n)| n) },
            ..Facts::default()
        })
    }

    fn locate(&self) -> Result<Located> {
        let of = |split: &Split| {
            std::iter::once(&split.images).chain(&split.labels).map(|array| array.path.clone()).collect()
        };
        let mut files: Vec<PathBuf> = self.splits().flat_map(|split| -> Vec<PathBuf> { of(split) }).collect();
        files.sort();
        files.dedup();
        for file in &files {
            drop(crate::places::open(file)?);
        }
        Ok(Located { place: self.train.images.path.display().to_string(), files })
    }

    fn read(&self, progress: &Reading) -> Result<Dataset> {
        let (facts, located) = (self.facts()?, self.locate()?);
        progress.expect((facts.counts.train + facts.counts.test) as u64);
        let classes = facts.classes();
        let (train, of_train) = self.train.read(self.layout, classes, progress)?;
        let (test, of_test) = match &self.test {
            Some(test) => test.read(self.layout, classes, progress)?,
            None => (Images::none(facts.image), foil::hash::hash(&[]).repeat(2)),
        };
        // By what is read, so that it does not matter how a file is packed.
        let sums = [("train", of_train), ("test", of_test)];
        let sums = sums.map(|(file, sha256)| FileSum { file: file.into(), sha256 }).into();
        Ok(Dataset { facts, train, test, origin: located.place, sums, published: false, notes: Vec::new() })
    }
}

#[cfg(test)]
mod tests;
