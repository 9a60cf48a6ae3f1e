//! Pictures of one's own: a folder for each class.

mod cache;
mod decode;
mod walk;

use foil::data::FileSum;
use foil::prelude::*;
use std::path::{Path, PathBuf};
use walk::Listing;

pub use decode::{Alpha, Fit, decode};

/// Pictures of your own: `train/CLASS/*` and `test/CLASS/*` (or `val/`), PNG, JPEG or WebP, as
/// torchvision's ImageFolder and Tiny-ImageNet lay them out.
///
/// They are decoded once, in parallel, and kept decoded in the cache folder under the content of
/// the files: the next start reads them from there. Their names in the folder are sorted, so that
/// classes have the numbers that torchvision gives them.
#[settings]
pub struct Folder {
    /// The folder with `train` and `test` in it.
    pub path: DataPath,
    /// Height and width of the images, in pixels.
    #[set(range = 1..=1024, unit = "pixels")]
    pub size: usize,
    /// The width, where it is not the height.
    #[set(default, range = 1..=1024, unit = "pixels")]
    pub width: Option<usize>,
    /// Channels: 1 for grey, 3 for colour, 4 for colour with transparency.
    #[set(default = 3, range = 1..=4)]
    pub channels: usize,
    /// How pictures of another shape become images of this size.
    #[set(default = Fit::Crop)]
    pub fit: Fit,
    /// What lies behind transparent pixels.
    #[set(default = Alpha::Refuse)]
    pub alpha: Alpha,
    /// The name in tables and records; by default the folder's.
    #[set(default)]
    pub name: Option<String>,
}

/// The settings with the folder found.
#[derive(Debug)]
struct Pictures {
    root: PathBuf,
    /// `[channels, height, width]`.
    image: [usize; 3],
    fit: Fit,
    alpha: Alpha,
    name: String,
}

impl Config<dyn DataSource> for Folder {
    fn build(&self, cx: &Build) -> Result<Box<dyn DataSource>> {
        if self.channels == 2 {
            cx.problem(
                "channels",
                "is 2, but pictures are grey, colour, or colour with transparency",
                "write 1, 3 or 4",
            );
        }
        let root = cx.place(&self.path);
        let own = root.file_name().map_or("folder".into(), |name| name.to_string_lossy().into_owned());
        let name = self.name.clone().unwrap_or(own);
        let image = [self.channels, self.size, self.width.unwrap_or(self.size)];
        Ok(Box::new(Pictures { root, image, fit: self.fit, alpha: self.alpha, name }))
    }
}

register!(dyn DataSource, "folder", Folder, "{ path: pictures, size: 64 }");

impl Pictures {
    fn facts_of(&self, listing: &Listing) -> Facts {
        Facts {
            name: self.name.clone(),
            title: self.name.clone(),
            about: format!("pictures in {}", self.root.display()),
            class_names: listing.classes.clone(),
            image: self.image,
            counts: Counts { train: listing.train.len(), test: listing.test.len() },
            ..Facts::default()
        }
    }

    /// What, besides the files, decides what is decoded.
    fn settings(&self) -> String {
        format!("{:?} {:?} {:?}", self.image, self.fit, self.alpha)
    }
}

impl DataSource for Pictures {
    fn facts(&self) -> Result<Facts> {
        Ok(self.facts_of(&walk::list(&self.root)?))
    }

    fn locate(&self) -> Result<Located> {
        let listing = walk::list(&self.root)?;
        Ok(Located { place: self.root.display().to_string(), files: listing.files().map(Path::to_path_buf).collect() })
    }

    fn read(&self, progress: &Reading) -> Result<Dataset> {
        let listing = walk::list(&self.root)?;
        let settings = self.settings();
        let known = cache::Place::of(&self.root, &settings, &listing)?;
        let (train, test) = match known.load(&listing, self.image) {
            Some(kept) => kept,
            None => {
                let all: Vec<&walk::Picture> = listing.train.iter().chain(&listing.test).collect();
                let pixels = decode::all(&all, self.image, self.fit, self.alpha, progress)?;
                known.keep(&listing, pixels, self.image)
            }
        };
        let sums = vec![FileSum { file: settings, sha256: known.content }];
        let origin = self.root.display().to_string();
        Ok(Dataset { facts: self.facts_of(&listing), train, test, origin, published: false, sums, notes: Vec::new() })
    }
}
