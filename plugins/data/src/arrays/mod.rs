//! Images and labels as arrays of numbers: NumPy's files, and safetensors.

mod container;
mod convert;
pub mod npy;

use container::Named;
pub use convert::{Layout, images, labels};
use foil::data::FileSum;
use foil::prelude::*;
use std::path::PathBuf;

/// Images as arrays of numbers: `.npz`, `.npy` or `.safetensors`, with images `[n, H, W, C]`, `[n,
/// C, H, W]` or `[n, H, W]` as bytes or as floating-point numbers from 0 to 1, and labels `[n]`.
///
/// Test images may be in the same file or another; a set that is only mixed into another needs
/// none.
#[settings]
pub struct Arrays {
    /// The file with the training images.
    pub path: DataPath,
    /// The name of their array; a `.npy` file has only one.
    #[set(default = "images")]
    pub images: String,
    /// The name of the array of their labels.
    #[set(default = "labels")]
    pub labels: String,
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
    labels: Named,
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
        let split = |path: &PathBuf, images: &str, labels: &str, labels_path: &Option<DataPath>| Split {
            images: Named { path: path.clone(), key: images.into() },
            labels: Named { path: labels_path.as_ref().map_or(path.clone(), |own| cx.place(own)), key: labels.into() },
        };
        let train = split(&path, &self.images, &self.labels, &self.labels_path);
        let test_path = self.test_path.as_ref().map_or(path.clone(), |own| cx.place(own));
        let test = split(&test_path, &self.test_images, &self.test_labels, &self.test_labels_path);
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

    fn read(&self, layout: Layout, classes: usize, progress: &Reading) -> Result<Images> {
        let labels = self.labels()?;
        let images = self.images.with(|header, from| convert::images(header, from, layout, progress))?;
        let [channels, height, width] = images.0;
        let pixels = images.1;
        let n = pixels.len() / (channels * height * width).max(1);
        if labels.len() != n {
            let message = format!("{} labels for {n} images in {}", labels.len(), self.images);
            return Err(self.labels.about(Error::new(message)));
        }
        if let Some((at, label)) = labels.iter().enumerate().find(|(_, label)| usize::from(**label) >= classes) {
            let message = format!("label {at} is {label}, expected 0 to {}", classes.saturating_sub(1));
            return Err(self.labels.about(Error::new(message)));
        }
        Ok(Images { pixels, labels, channels, height, width })
    }

    fn labels(&self) -> Result<Vec<u16>> {
        self.labels.with(convert::labels)
    }
}

impl Files {
    fn class_names(&self) -> Result<Vec<String>> {
        if !self.classes.is_empty() {
            return Ok(self.classes.clone());
        }
        let largest = self.train.labels()?.into_iter().max().unwrap_or(0);
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
        let mut files: Vec<PathBuf> =
            self.splits().flat_map(|split| [split.images.path.clone(), split.labels.path.clone()]).collect();
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
        let train = self.train.read(self.layout, classes, progress)?;
        let test = match &self.test {
            Some(test) => test.read(self.layout, classes, progress)?,
            None => Images::with_room(0, facts.image),
        };
        // By what is read, so that it does not matter how a file is packed.
        let labels = |images: &Images| images.labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<_>>();
        let sum = |images: &Images| foil::hash::hash(&images.pixels) + &foil::hash::hash(&labels(images));
        let sums = [("train", &train), ("test", &test)];
        let sums = sums.map(|(file, images)| FileSum { file: file.into(), sha256: sum(images) }).into();
        Ok(Dataset { facts, train, test, origin: located.place, sums, published: false, notes: Vec::new() })
    }
}

#[cfg(test)]
mod tests;
