//! CIFAR-10-C and CIFAR-100-C: the test images under corruptions of five severities.

use crate::arrays::{self, npy};
use crate::places;
use foil::AtPath;
use foil::data::{FileSum, Remote};
use foil::prelude::*;
use foil_data::{CIFAR10, CIFAR100};
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The 15 corruptions that are averaged (Hendrycks and Dietterich, ICLR 2019, Figure 1), in their
/// order.
const CORRUPTIONS: [&str; 15] = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
];
/// Those that were made for choosing hyperparameters, and are not averaged.
const OTHERS: [&str; 4] = ["speckle_noise", "gaussian_blur", "spatter", "saturate"];
const SEVERITIES: usize = 5;

/// What one of the two sets is called, and what it is made of.
#[derive(Debug)]
struct Kept {
    name: &'static str,
    title: &'static str,
    /// The folder in the published archive.
    folder: &'static str,
    clean: &'static foil_data::DatasetInfo,
    remote: Remote,
    homepage: &'static str,
}

static CIFAR10_C: Kept = Kept {
    name: "cifar10_c",
    title: "CIFAR-10-C",
    folder: "CIFAR-10-C",
    clean: &CIFAR10,
    // TensorFlow Datasets, url_checksums/cifar10_corrupted.txt.
    remote: Remote {
        file: "CIFAR-10-C.tar",
        bytes: 2_918_471_680,
        sha256: "c72763e101c723b7c507b96205f7e938912a5d587376173b825850cf3cb876a7",
        mirrors: &["https://zenodo.org/record/2535967/files/"],
    },
    homepage: "https://zenodo.org/record/2535967",
};

static CIFAR100_C: Kept = Kept {
    name: "cifar100_c",
    title: "CIFAR-100-C",
    folder: "CIFAR-100-C",
    clean: &CIFAR100,
    // TensorFlow Datasets, url_checksums/cifar100_corrupted.txt.
    remote: Remote {
        file: "CIFAR-100-C.tar",
        bytes: 2_918_473_216,
        sha256: "30ee6543a1bfd049fa33834b7c1ada301e7064b7fbe8fc38340eb8b62ced4b33",
        mirrors: &["https://zenodo.org/record/3555552/files/"],
    },
    homepage: "https://zenodo.org/record/3555552",
};

macro_rules! corrupted {
    ($($(#[$about:meta])+ $config:ident, $name:literal, $kept:ident;)+) => {$(
        $(#[$about])+
        #[settings]
        pub struct $config {
            /// The folder with the `.npy` files, the folder above, or that of the published
            /// archive; by default foil looks for it (`foil data list` says where).
            #[set(default)]
            pub path: Option<DataPath>,
            /// The corruptions; by default the 15 that are averaged.
            #[set(default)]
            pub corruptions: Vec<String>,
            /// The severities, 1 to 5.
            #[set(default = vec![1, 2, 3, 4, 5])]
            pub severities: Vec<usize>,
        }

        impl Config<dyn DataSource> for $config {
            fn build(&self, cx: &Build) -> Result<Box<dyn DataSource>> {
                built(&$kept, cx, self.path.as_ref(), &self.corruptions, &self.severities)
            }
        }

        register!(dyn DataSource, $name, $config, "{}");
    )+};
}

corrupted! {
    /// CIFAR-10-C: the 10,000 test images of CIFAR-10 under 15 corruptions, each with 5 severities,
    /// to evaluate on (Hendrycks and Dietterich, ICLR 2019).
    Cifar10C, "cifar10_c", CIFAR10_C;
    /// CIFAR-100-C: the 10,000 test images of CIFAR-100 under 15 corruptions, each with 5
    /// severities, to evaluate on (Hendrycks and Dietterich, ICLR 2019).
    Cifar100C, "cifar100_c", CIFAR100_C;
}

fn built(
    kept: &'static Kept,
    cx: &Build,
    path: Option<&DataPath>,
    corruptions: &[String],
    severities: &[usize],
) -> Result<Box<dyn DataSource>> {
    let all: Vec<&str> = CORRUPTIONS.into_iter().chain(OTHERS).collect();
    for (at, name) in corruptions.iter().enumerate().filter(|(_, name)| !all.contains(&name.as_str())) {
        let message = format!("is `{name}`, which is not a corruption");
        cx.problem(&format!("corruptions.{at}"), message, format!("known corruptions: {}", all.join(", ")));
    }
    for (at, severity) in severities.iter().enumerate().filter(|(_, severity)| !(1..=SEVERITIES).contains(*severity)) {
        cx.problem(&format!("severities.{at}"), format!("is {severity}"), "severities are 1 to 5");
    }
    let usual = || CORRUPTIONS.map(String::from).to_vec();
    Ok(Box::new(Corrupted {
        kept,
        folder: path.map(|path| cx.place(path)),
        corruptions: if corruptions.is_empty() { usual() } else { corruptions.to_vec() },
        severities: severities.to_vec(),
        per_severity: kept.clean.counts.test,
    }))
}

#[derive(Debug)]
struct Corrupted {
    kept: &'static Kept,
    folder: Option<PathBuf>,
    corruptions: Vec<String>,
    severities: Vec<usize>,
    /// Images of each corruption and severity.
    per_severity: usize,
}

/// Where the arrays are.
enum Store {
    Folder(PathBuf),
    /// The published archive, which is not packed.
    Archive(PathBuf),
}

impl Store {
    fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Archive(path) => path,
        }
    }

    /// One of its files, from the beginning of that.
    fn open(&self, name: &str) -> Result<BufReader<File>> {
        let path = match self {
            Self::Folder(folder) => return places::open(&folder.join(name)),
            Self::Archive(path) => path,
        };
        let mut file = places::open(path)?;
        let mut archive = tar::Archive::new(&mut file);
        let damaged = |error: std::io::Error| Error::new(format!("{}: {error}", path.display()));
        let mut start = None;
        for member in archive.entries_with_seek().map_err(damaged)? {
            let member = member.map_err(damaged)?;
            if member.path().map_err(damaged)?.file_name() == Some(name.as_ref()) {
                start = Some(member.raw_file_position());
                break;
            }
        }
        let missing = || Error::new(format!("{} has no file `{name}`", path.display()));
        file.seek(SeekFrom::Start(start.ok_or_else(missing)?)).at("reading", path)?;
        Ok(file)
    }
}

impl Corrupted {
    fn store(&self) -> Result<Store> {
        let Kept { name, folder, remote, .. } = self.kept;
        let has = |place: &Path| {
            let folders = [place.to_path_buf(), place.join(folder)];
            let plain = folders.into_iter().find(|folder| folder.join("labels.npy").is_file()).map(Store::Folder);
            let archive = [place.to_path_buf(), place.join(remote.file)];
            let archive = archive.into_iter().find(|path| path.is_file()).map(Store::Archive);
            plain.or(archive)
        };
        let help = format!("`foil data get {name}` fetches it (2,918 MB); or set FOIL_DATA to the folder that has it");
        places::find(name, self.folder.as_deref(), has, &help)
    }

    /// The images of a corruption at a severity.
    fn images(&self, store: &Store, corruption: &str, severity: usize, progress: &Reading) -> Result<Images> {
        let file = format!("{corruption}.npy");
        let about = |error: Error| error.context(format_args!("{}, {file}", store.path().display()));
        let (image, pixels) = self.slice(store.open(&file)?, severity, Some(progress)).map_err(about)?;
        Ok(Images::new(pixels, self.labels(store, severity)?, image))
    }

    /// The part of an array of images that is at a severity: those come one after the other.
    fn slice(
        &self,
        mut file: BufReader<File>,
        severity: usize,
        progress: Option<&Reading>,
    ) -> Result<([usize; 3], Vec<u8>)> {
        let n = self.per_severity;
        let header = npy::header(&mut file)?;
        let [c, h, w] = self.kept.clean.image;
        let expected = npy::Header { number: npy::Number::U8, shape: vec![SEVERITIES * n, h, w, c] };
        if header != expected {
            let found = format!("{:?} of shape {:?}", header.number, header.shape);
            return Err(Error::new(format!(
                "it holds {found}, expected {:?} of shape {:?}",
                expected.number, expected.shape
            )));
        }
        let before = (severity - 1) * n * h * w * c;
        file.seek_relative(before as i64).map_err(|error| Error::new(format!("it is cut short: {error}")))?;
        let part = npy::Header { shape: vec![n, h, w, c], ..header };
        let unseen = Reading::default();
        arrays::images(&part, &mut file, arrays::Layout::Nhwc, progress.unwrap_or(&unseen))
    }

    fn labels(&self, store: &Store, severity: usize) -> Result<Vec<u16>> {
        let about = |error: Error| error.context(format_args!("{}, labels.npy", store.path().display()));
        let mut file = store.open("labels.npy")?;
        let mut read = || {
            let header = npy::header(&mut file)?;
            let length = header.length()? as u64;
            if header.shape != [SEVERITIES * self.per_severity] {
                let expected = [SEVERITIES * self.per_severity];
                return Err(Error::new(format!("its shape is {:?}, expected {expected:?}", header.shape)));
            }
            let all = arrays::labels(&header, &mut std::io::Read::take(&mut file, length))?;
            let labels = all[(severity - 1) * self.per_severity..][..self.per_severity].to_vec();
            let classes = self.kept.clean.classes();
            match labels.iter().position(|label| usize::from(*label) >= classes) {
                Some(at) => Err(Error::new(format!("label {at} is {}, expected 0 to {}", labels[at], classes - 1))),
                None => Ok(labels),
            }
        };
        read().map_err(about)
    }

    fn chosen(&self) -> impl Iterator<Item = (&str, usize)> {
        self.corruptions.iter().flat_map(|name| self.severities.iter().map(move |severity| (name.as_str(), *severity)))
    }

    fn dataset(&self, chosen: &[(&str, usize)], progress: &Reading) -> Result<Dataset> {
        let store = self.store()?;
        progress.expect((chosen.len() * self.per_severity) as u64);
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for (corruption, severity) in chosen {
            let images = self.images(&store, corruption, *severity, progress)?;
            pixels.extend_from_slice(&images.pixels.all().map_err(Error::of)?);
            labels.extend(images.labels);
        }
        let test = Images::new(pixels, labels, self.kept.clean.image);
        let mut facts = self.facts()?;
        facts.counts.test = test.len();
        let sums = vec![FileSum { file: "test".into(), sha256: test.sha256().map_err(Error::of)?[0].clone() }];
        let (train, origin) = (Images::none(facts.image), store.path().display().to_string());
        Ok(Dataset { facts, train, test, origin, sums, published: false, notes: Vec::new() })
    }
}

impl DataSource for Corrupted {
    fn facts(&self) -> Result<Facts> {
        let clean = self.kept.clean.facts();
        Ok(Facts {
            name: self.kept.name.into(),
            title: self.kept.title.into(),
            about: format!("the test images of {} under corruptions of five severities", clean.title),
            counts: Counts { train: 0, test: self.corruptions.len() * self.severities.len() * self.per_severity },
            licence: "CC BY 4.0".into(),
            citation: "Hendrycks, Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and \
                       Perturbations. ICLR 2019."
                .into(),
            homepage: self.kept.homepage.into(),
            ..clean
        })
    }

    fn locate(&self) -> Result<Located> {
        let store = self.store()?;
        let files = match &store {
            Store::Archive(path) => vec![path.clone()],
            Store::Folder(folder) => {
                let names = self.corruptions.iter().map(String::as_str).chain(["labels"]);
                names.map(|name| folder.join(format!("{name}.npy"))).collect()
            }
        };
        Ok(Located { place: store.path().display().to_string(), files })
    }

    fn read(&self, progress: &Reading) -> Result<Dataset> {
        self.dataset(&self.chosen().collect::<Vec<_>>(), progress)
    }

    fn parts(&self) -> Vec<String> {
        self.chosen().map(|(corruption, severity)| format!("{corruption}@{severity}")).collect()
    }

    fn read_part(&self, part: &str, progress: &Reading) -> Result<Dataset> {
        let is_it = |(name, severity): &(&str, usize)| format!("{name}@{severity}") == part;
        let found = self.chosen().find(is_it).ok_or_else(|| Error::new(format!("there is no part `{part}`")))?;
        self.dataset(&[found], progress)
    }

    fn remotes(&self) -> Vec<Remote> {
        vec![self.kept.remote]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_set::npy;
    use tempfile::{TempDir, tempdir};

    /// Two images of each severity; every pixel of image i is i.
    fn made() -> (TempDir, Corrupted) {
        let folder = tempdir().unwrap();
        let inside = folder.path().join("CIFAR-10-C");
        std::fs::create_dir(&inside).unwrap();
        let pixels: Vec<u8> = (0..10).flat_map(|i| vec![i; 3072]).collect();
        std::fs::write(inside.join("fog.npy"), npy("|u1", "(10, 32, 32, 3)", &pixels)).unwrap();
        let labels = [3, 9, 3, 9, 3, 9, 3, 9, 3, 9];
        std::fs::write(inside.join("labels.npy"), npy("|u1", "(10,)", &labels)).unwrap();
        let set = Corrupted {
            kept: &CIFAR10_C,
            folder: Some(folder.path().into()),
            corruptions: vec!["fog".into()],
            severities: vec![2, 5],
            per_severity: 2,
        };
        (folder, set)
    }

    #[test]
    fn a_part_is_a_corruption_at_a_severity() {
        let (_folder, set) = made();
        assert_eq!(set.parts(), ["fog@2", "fog@5"]);
        let part = set.read_part("fog@5", &Reading::default()).unwrap();
        assert_eq!(([0, 1].map(|i| part.test.image(i).unwrap()[0]), &part.test.labels), ([8, 9], &vec![3, 9]));
        let all = set.read(&Reading::default()).unwrap();
        assert_eq!((all.train.len(), all.test.len(), all.test.image(0).unwrap()[0]), (0, 4, 2));
    }

    #[test]
    fn the_archive_is_read_where_it_lies() {
        let (folder, set) = made();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_dir_all("CIFAR-10-C", folder.path().join("CIFAR-10-C")).unwrap();
        let path = folder.path().join("elsewhere.tar");
        std::fs::write(&path, archive.into_inner().unwrap()).unwrap();
        let from_archive = Corrupted { folder: Some(path), ..made().1 };
        let read = |set: &Corrupted| set.read(&Reading::default()).unwrap().test;
        assert_eq!(read(&from_archive), read(&set));
    }

    #[test]
    fn other_arrays_are_refused() {
        let (folder, set) = made();
        let file = folder.path().join("CIFAR-10-C/fog.npy");
        let said = || set.read(&Reading::default()).unwrap_err().to_string();
        std::fs::write(&file, npy("|u1", "(10, 28, 28, 1)", &[0; 7840])).unwrap();
        assert!(
            said().contains("fog.npy: it holds U8 of shape [10, 28, 28, 1], expected U8 of shape [10, 32, 32, 3]"),
            "{}",
            said()
        );
        std::fs::write(&file, npy("|u1", "(10, 32, 32, 3)", &[0; 9000])).unwrap();
        assert!(said().contains("cut short"), "{}", said());
        std::fs::write(folder.path().join("CIFAR-10-C/labels.npy"), npy("|u1", "(10,)", &[10; 10])).unwrap();
        std::fs::write(&file, npy("|u1", "(10, 32, 32, 3)", &[0; 30720])).unwrap();
        assert!(said().contains("labels.npy: label 0 is 10, expected 0 to 9"), "{}", said());
    }
}
