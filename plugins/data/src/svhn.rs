//! SVHN: house numbers from Google Street View, in MATLAB's files.

use crate::{mat, places};
use foil::data::{FileSum, Remote};
use foil::prelude::*;
use std::io::BufRead;
use std::path::PathBuf;

/// SVHN: photographs of house numbers in 10 classes, colour, 32 x 32, 73,257 to train on and 26,032
/// to test on (Netzer et al., 2011). The 531,131 simpler `extra` images are not read.
#[settings]
pub struct Svhn {
    /// The folder with `train_32x32.mat` and `test_32x32.mat`; by default foil looks for it (`foil
    /// data list` says where).
    #[set(default)]
    pub path: Option<DataPath>,
}

struct Files {
    folder: Option<PathBuf>,
}

const NAME: &str = "svhn";
const MIRRORS: &[&str] = &["http://ufldl.stanford.edu/housenumbers/"];
const HELP: &str = "`foil data get svhn` fetches it (246 MB); or set FOIL_DATA to the folder that has it";

/// Sums: TensorFlow Datasets (`url_checksums/svhn_cropped.txt`).
const REMOTES: [Remote; 2] = [
    Remote {
        file: "train_32x32.mat",
        bytes: 182_040_794,
        sha256: "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        mirrors: MIRRORS,
    },
    Remote {
        file: "test_32x32.mat",
        bytes: 64_275_384,
        sha256: "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        mirrors: MIRRORS,
    },
];
const COUNTS: [usize; 2] = [73_257, 26_032];
const SIDE: usize = 32;

impl Config<dyn DataSource> for Svhn {
    fn build(&self, cx: &Build) -> Result<Box<dyn DataSource>> {
        Ok(Box::new(Files { folder: self.path.as_ref().map(|path| cx.place(path)) }))
    }
}

register!(dyn DataSource, "svhn", Svhn, "{}");

impl Files {
    fn paths(&self) -> Result<[PathBuf; 2]> {
        let both = |folder: &std::path::Path| {
            let paths = REMOTES.map(|remote| folder.join(remote.file));
            paths.iter().all(|path| path.is_file()).then_some(paths)
        };
        places::find(NAME, self.folder.as_deref(), both, HELP)
    }
}

impl DataSource for Files {
    fn facts(&self) -> Result<Facts> {
        Ok(Facts {
            name: NAME.into(),
            title: "SVHN".into(),
            about: "house numbers from Google Street View, colour, 32 x 32".into(),
            class_names: (0..10).map(|digit| digit.to_string()).collect(),
            image: [3, SIDE, SIDE],
            counts: Counts { train: COUNTS[0], test: COUNTS[1] },
            licence: "for non-commercial use only".into(),
            citation: "Netzer, Wang, Coates, Bissacco, Wu, Ng: Reading Digits in Natural Images with Unsupervised \
                       Feature Learning. NIPS Workshop on Deep Learning, 2011."
                .into(),
            homepage: "http://ufldl.stanford.edu/housenumbers/".into(),
            ..Facts::default()
        })
    }

    fn locate(&self) -> Result<Located> {
        let files = self.paths()?;
        let place = files[0].parent().map(|folder| folder.display().to_string()).unwrap_or_default();
        Ok(Located { place, files: files.into() })
    }

    fn read(&self, progress: &Reading) -> Result<Dataset> {
        let (mut sums, mut notes, mut sets) = (Vec::new(), Vec::new(), Vec::new());
        progress.expect(COUNTS.iter().sum::<usize>() as u64);
        for ((path, remote), count) in self.paths()?.iter().zip(REMOTES).zip(COUNTS) {
            sets.push(read(&mut places::open(path)?, count).map_err(places::about(path))?);
            progress.advance(count as u64);
            let sha256 = foil::hash::file_hash(path).map_err(Error::of)?;
            if sha256 != remote.sha256 {
                notes.push(format!("{} is well formed but not the published file (SHA-256 {sha256})", remote.file));
            }
            sums.push(FileSum { file: remote.file.into(), sha256 });
        }
        let [train, test]: [Images; 2] = sets.try_into().map_err(|_| Error::new("SVHN has two files"))?;
        let (facts, origin) = (self.facts()?, self.locate()?.place);
        Ok(Dataset { facts, train, test, origin, published: notes.is_empty(), sums, notes })
    }

    fn remotes(&self) -> Vec<Remote> {
        REMOTES.into()
    }
}

/// The `count` images of a file.
///
/// # Errors
/// When it is not such a file, or has another number of images.
pub fn read(from: &mut dyn BufRead, count: usize) -> Result<Images> {
    images(mat::arrays(from, count * 3 * SIDE * SIDE)?, count)
}

/// Images `X` `[32, 32, 3, n]` and labels `y` `[n, 1]`, in which 10 is the digit 0. MATLAB's first
/// index, the row, moves fastest.
fn images(arrays: Vec<mat::Array>, count: usize) -> Result<Images> {
    let array = |name: &str| {
        let missing = || Error::new(format!("it has no array `{name}`"));
        arrays.iter().find(|array| array.name == name).ok_or_else(missing)
    };
    let (x, y) = (array("X")?, array("y")?);
    let wrong = |name: &str, found: &[usize], expected: &[usize]| {
        Err(Error::new(format!("`{name}` has the shape {found:?}, expected {expected:?}")))
    };
    if x.shape != [SIDE, SIDE, 3, count] {
        return wrong("X", &x.shape, &[SIDE, SIDE, 3, count]);
    }
    if y.shape != [count, 1] {
        return wrong("y", &y.shape, &[count, 1]);
    }
    let (mut pixels, mut labels) = (Vec::with_capacity(x.values.len()), Vec::with_capacity(count));
    for plane in x.values.chunks_exact(SIDE * SIDE) {
        pixels.extend((0..SIDE * SIDE).map(|at| plane[at % SIDE * SIDE + at / SIDE]));
    }
    for (index, &label) in y.values.iter().enumerate() {
        if !(1..=10).contains(&label) {
            return Err(Error::new(format!("label {index} is {label}, expected 1 to 10")));
        }
        labels.push(u16::from(label % 10));
    }
    Ok(Images::new(pixels, labels, [3, SIDE, SIDE]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(name: &str, shape: &[usize], values: Vec<u8>) -> mat::Array {
        mat::Array { name: name.into(), shape: shape.into(), values }
    }

    #[test]
    fn columns_become_rows_and_ten_becomes_zero() {
        // In MATLAB's order the number at (row, column, channel) is at row + 32 column + 1024
        // channel.
        let values = (0..2 * 3072).map(|at| (at / 3072 * 100 + at % 32 + 2 * (at / 32 % 32)) as u8).collect();
        let x = array("X", &[32, 32, 3, 2], values);
        let found = images(vec![x, array("y", &[2, 1], vec![10, 3])], 2).unwrap();
        assert_eq!(found.labels, [0, 3]);
        assert_eq!(found.shape(), [2, 3, 32, 32]);
        // Row 5, column 7 of channel 1.
        assert_eq!(found.image(1).unwrap()[1024 + 5 * 32 + 7], 100 + 5 + 2 * 7);
    }

    #[test]
    fn other_shapes_and_labels_are_refused() {
        let x = || array("X", &[32, 32, 3, 1], vec![0; 3072]);
        let said = |arrays| images(arrays, 1).unwrap_err().to_string();
        assert!(said(vec![x()]).contains("no array `y`"));
        assert!(said(vec![x(), array("y", &[1, 1], vec![11])]).contains("label 0 is 11, expected 1 to 10"));
        assert!(said(vec![x(), array("y", &[1, 2], vec![1, 1])]).contains("shape [1, 2], expected [1, 1]"));
    }
}
