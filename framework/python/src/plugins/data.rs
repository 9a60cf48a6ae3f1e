//! A data set in Python.

use super::settings::{Manual, schema_of};
use super::{Object, Settings};
use crate::tensors::from_python;
use foil::data::{Counts, FileSum};
use foil::prelude::*;
use foil::registry::Plugin;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

impl Manual for dyn DataSource {
    const TEXT: &'static str = "A data set in Python: any map-style `Dataset`, such as torchvision's.\n\n\
        The file has a subclass of `foil.Data`, whose annotated fields are further keys here. Its `load(self)` \
        returns the training and the test images: each a dataset whose items are an image and its label, or a pair \
        of arrays. Images are kept as bytes, so augmentation belongs to `augment`. They are read to be counted, too, \
        whenever a command needs the number of classes.";
}

struct Written {
    object: Object,
    name: String,
    /// File, class and keys.
    identity: String,
}

/// Images and labels.
type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// The data set that was read last: it is read again after its facts were asked for.
static READ: Mutex<Option<(String, Dataset)>> = Mutex::new(None);

impl Config<dyn DataSource> for Settings<dyn DataSource> {
    fn build(&self, cx: &Build) -> Result<Box<dyn DataSource>> {
        let object = self.object(cx)?;
        let name = Python::attach(|py| {
            let name = object.object.bind(py).get_type().name().and_then(|name| name.extract::<String>());
            name.map_err(|error| Error::new(error.to_string()))
        })?;
        let identity = format!("{} {name} {}", object.file.display(), self.keys_as_json());
        Ok(Box::new(Written { object, name, identity }))
    }
}

impl Written {
    /// The one that was read last, if it is this one, or it read now.
    fn taken(&self) -> Result<Dataset> {
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        match read.take_if(|(identity, _)| *identity == self.identity) {
            Some((_, data)) => Ok(data),
            None => self.load(),
        }
    }

    fn load(&self) -> Result<Dataset> {
        let (names, mut sets) = Python::attach(|py| {
            let images = |_: &Bound<'_, PyAny>, plugin: &Bound<'_, PyAny>| {
                let found = py.import("foil._data")?.getattr("images")?.call1((plugin,))?;
                let (names, sets): (Vec<String>, Vec<Pair<'_>>) = found.extract()?;
                let sets =
                    sets.iter().map(|(x, y)| Ok((from_python(x)?, from_python(y)?))).collect::<PyResult<Vec<_>>>();
                Ok((names, sets?))
            };
            self.object.call("make", images, py)
        })?;
        let (test, train) = (sets.pop(), sets.pop());
        let [Some(train), Some(test)] = [train, test].map(|set| set.map(|(x, y)| images(&x, &y))) else {
            return Err(Error::new("it has no training or no test images"));
        };
        let (train, test) = (train?, test?);
        let facts = Facts {
            name: self.name.clone(),
            title: self.name.clone(),
            about: format!("the data set of {}", self.object.file.display()),
            class_names: names,
            image: [train.channels, train.height, train.width],
            counts: Counts { train: train.len(), test: test.len() },
            ..Facts::default()
        };
        let sums = [("train", &train), ("test", &test)].map(|(file, images)| {
            let both = images.sha256().map_err(Error::of)?.concat();
            Ok(FileSum { file: file.into(), sha256: foil::hash::hash(both.as_bytes()) })
        });
        let sums: Vec<FileSum> = sums.into_iter().collect::<Result<_>>()?;
        let origin = self.object.file.display().to_string();
        Ok(Dataset { facts, train, test, origin, sums, published: false, notes: Vec::new() })
    }
}

/// Bytes `[n, C, H, W]` and labels `[n]`.
fn images(x: &Tensor, y: &Tensor) -> Result<Images> {
    let wrong = |error: tch::TchError| Error::new(error.to_string());
    let (_, channels, height, width) = x.size4().map_err(wrong)?;
    let pixels = Vec::<u8>::try_from(x.view(-1)).map_err(wrong)?;
    let labels = Vec::<i64>::try_from(y).map_err(wrong)?;
    let labels = labels.into_iter().map(|label| label as u16).collect();
    Ok(Images::new(pixels, labels, [channels, height, width].map(|size| size as usize)))
}

impl DataSource for Written {
    fn facts(&self) -> Result<Facts> {
        let data = self.taken()?;
        let facts = data.facts.clone();
        *READ.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.identity.clone(), data));
        Ok(facts)
    }

    fn locate(&self) -> Result<Located> {
        let file = self.object.file.clone();
        Ok(Located { place: file.display().to_string(), files: vec![file] })
    }

    fn read(&self, progress: &Reading) -> Result<Dataset> {
        let data = self.taken()?;
        let n = (data.train.len() + data.test.len()) as u64;
        progress.expect(n);
        progress.advance(n);
        Ok(data)
    }
}

foil::__private::inventory::submit! {
    Plugin::new::<dyn DataSource, Settings<dyn DataSource>>("python", env!("CARGO_PKG_NAME"), "{ file: my_data.py }")
        .keyed(schema_of::<dyn DataSource>)
}
