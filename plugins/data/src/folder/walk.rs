//! Which pictures a folder has, and of which class each is.

use foil::data::{Images, Pixels};
use foil::{AtPath, Error, Result, regular};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Endings of pictures, in lower case.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
/// Names of the folder of test images, the preferred one first.
const TESTS: [&str; 2] = ["test", "val"];
/// Classes of one data set: labels are numbers below this.
const MOST_CLASSES: usize = 1 << 16;
/// How deep folders lie in a class's folder.
const DEEPEST: usize = 8;

/// One picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its file.
    pub path: PathBuf,
    /// Its class.
    pub label: u16,
}

/// The pictures of a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    /// Names of the classes, sorted.
    pub classes: Vec<String>,
    /// Training images: the first of each class by path, then the second of each, and so on.
    pub train: Vec<Picture>,
    /// Test images, likewise.
    pub test: Vec<Picture>,
}

impl Listing {
    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.train.iter().chain(&self.test).map(|picture| picture.path.as_path())
    }

    /// Training and test images of their pixels.
    pub fn images(&self, pixels: [impl Into<Pixels>; 2], image: [usize; 3]) -> (Images, Images) {
        let [train, test] = pixels;
        let labels = |pictures: &[Picture]| pictures.iter().map(|picture| picture.label).collect();
        (Images::new(train, labels(&self.train), image), Images::new(test, labels(&self.test), image))
    }
}

/// Lists the pictures in `root`.
///
/// # Errors
/// When the folders are not laid out as they should be, or something in them leads out of `root`,
/// with everything that is wrong at once.
pub fn list(root: &Path) -> Result<Listing> {
    let layout = "put pictures in train/CLASS/ and test/CLASS/, a folder for each class";
    let lies = |name: &str| root.join(name).is_dir();
    if !lies("train") {
        return Err(Error::new(format!("{} has no folder `train`", root.display())).help(layout));
    }
    let test = TESTS.into_iter().find(|name| lies(name));
    let test =
        test.ok_or_else(|| Error::new(format!("{} has no folder `test` or `val`", root.display())).help(layout))?;
    let home = root.canonicalize().at("opening", root)?;
    let mut walk = Walk { home, wrong: Vec::new() };
    for split in ["train", test] {
        if !walk.stays(&root.join(split)) {
            walk.wrong.push(format!("{}: it is a link that leads out of the folder", root.join(split).display()));
        }
    }
    refused(&walk.wrong, "cannot be used", layout)?;
    let train = walk.classes(&root.join("train"))?;
    let annotations = root.join(test).join("val_annotations.txt");
    let tested = match annotations.is_file() {
        true => walk.annotated(&root.join(test), &annotations)?,
        false => walk.classes(&root.join(test))?,
    };
    let classes: Vec<String> = train.keys().cloned().collect();
    walk.wrong.extend(
        tested
            .keys()
            .filter(|class| !train.contains_key(*class))
            .map(|class| format!("{}: the class `{class}` has no training images", root.join(test).display())),
    );
    walk.wrong.extend(train.iter().filter(|(_, files)| files.is_empty()).map(|(class, _)| {
        format!("{}: there is no picture in it (png, jpg, jpeg or webp)", root.join("train").join(class).display())
    }));
    if classes.len() < 2 || classes.len() >= MOST_CLASSES {
        walk.wrong.push(format!("{}: {} classes, expected 2 to 65,535", root.join("train").display(), classes.len()));
    }
    refused(&walk.wrong, "cannot be used", layout)?;
    // The first image of each class, then the second of each: the first ones are of all classes.
    let labelled = |split: BTreeMap<String, Vec<PathBuf>>| {
        let mut pictures = Vec::new();
        for (class, files) in split {
            let label = classes.binary_search(&class).unwrap_or_default() as u16;
            pictures.extend((0..).zip(files).map(|(place, path): (usize, _)| (place, Picture { path, label })));
        }
        pictures.sort_by_key(|(place, picture)| (*place, picture.label));
        pictures.into_iter().map(|(_, picture)| picture).collect::<Vec<_>>()
    };
    let (train, test) = (labelled(train), labelled(tested));
    Ok(Listing { train, test, classes })
}

/// An error that lists what is wrong, one line each, if anything is.
///
/// # Errors
/// That.
pub fn refused(wrong: &[String], what: &str, help: &str) -> Result<()> {
    const SHOWN: usize = 20;
    if wrong.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> =
        wrong.iter().take(SHOWN).map(|line| format!("\n  {}", foil::error::shown(line))).collect();
    if wrong.len() > SHOWN {
        lines.push(format!("\n  and {} more", wrong.len() - SHOWN));
    }
    let places = if wrong.len() == 1 { "place" } else { "places" };
    Err(Error::new(format!("{} {places} of the folder {what}:{}", wrong.len(), lines.concat())).help(help))
}

struct Walk {
    /// The folder out of which nothing may lead.
    home: PathBuf,
    wrong: Vec<String>,
}

impl Walk {
    /// The pictures in the folder of each class, sorted.
    fn classes(&mut self, folder: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>> {
        let mut classes = BTreeMap::new();
        for (entry, is_folder) in self.entries(folder)? {
            if !is_folder {
                continue;
            }
            match entry.file_name().and_then(|name| name.to_str()) {
                Some(name) => {
                    let mut files = Vec::new();
                    self.pictures(&entry, 0, &mut files)?;
                    files.sort();
                    classes.insert(name.to_string(), files);
                }
                None => self.wrong.push(format!("{}: its name is not UTF-8", entry.display())),
            }
        }
        Ok(classes)
    }

    /// Tiny-ImageNet's test images: all in one folder, with a line each of name and class.
    fn annotated(&mut self, folder: &Path, annotations: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>> {
        let text = regular::read_to_string(annotations, 64 << 20).at("reading", annotations)?;
        let mut classes: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split('\t');
            let (Some(name), Some(class)) = (words.next(), words.next()) else {
                self.wrong.push(format!("{}:{}: expected a name and a class", annotations.display(), number + 1));
                continue;
            };
            let path = folder.join("images").join(name);
            let plain = Path::new(name).file_name().is_some_and(|file| file == name);
            match plain && self.stays(&path) && path.is_file() {
                true => classes.entry(class.to_string()).or_default().push(path),
                false => {
                    self.wrong.push(format!("{}:{}: `{name}` is not a picture", annotations.display(), number + 1))
                }
            }
        }
        classes.values_mut().for_each(|files| files.sort());
        Ok(classes)
    }

    fn pictures(&mut self, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
        if depth > DEEPEST {
            self.wrong.push(format!("{}: its folders are nested too deeply", folder.display()));
            return Ok(());
        }
        for (entry, is_folder) in self.entries(folder)? {
            let ending = entry.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if is_folder {
                self.pictures(&entry, depth + 1, found)?;
            } else if ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
                found.push(entry);
            }
        }
        Ok(())
    }

    /// What lies in a folder and does not lead out of the data set's, and whether it is a folder;
    /// hidden files are left out.
    fn entries(&mut self, folder: &Path) -> Result<Vec<(PathBuf, bool)>> {
        let mut entries = Vec::new();
        for entry in folder.read_dir().at("reading", folder)? {
            let entry = entry.at("reading", folder)?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let kind = entry.file_type().at("reading", &path)?;
            let is_link = kind.is_symlink();
            if is_link && !self.stays(&path) {
                self.wrong.push(format!("{}: it is a link that leads out of the folder", path.display()));
            } else if is_link && path.is_dir() {
                // It could lead round in circles.
                self.wrong.push(format!("{}: it is a link to a folder", path.display()));
            } else {
                entries.push((path, kind.is_dir()));
            }
        }
        Ok(entries)
    }

    fn stays(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|path| path.starts_with(&self.home))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn made(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn classes_are_folders_in_the_order_of_their_names() {
        let folder = made(&[
            "train/dog/b.PNG",
            "train/dog/a.jpg",
            "train/cat/images/x.webp",
            "train/cat/notes.txt",
            "train/readme.txt",
            "test/dog/t.png",
            "test/.hidden/t.png",
        ]);
        let listing = list(folder.path()).unwrap();
        assert_eq!(listing.classes, ["cat", "dog"]);
        let named = |pictures: &[Picture]| {
            let name = |p: &Picture| (p.path.file_name().unwrap().to_str().unwrap().to_string(), p.label);
            pictures.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(named(&listing.train), [("x.webp".into(), 0), ("a.jpg".into(), 1), ("b.PNG".into(), 1)]);
        assert_eq!(named(&listing.test), [("t.png".into(), 1)]);
    }

    #[test]
    fn tiny_imagenets_test_images_have_their_classes_in_a_file() {
        let folder = made(&["train/n1/images/a.JPEG", "train/n2/images/b.JPEG", "val/images/v0.JPEG"]);
        let lines = folder.path().join("val/val_annotations.txt");
        fs::write(&lines, "v0.JPEG\tn2\t0\t0\t9\t9\n").unwrap();
        assert_eq!(list(folder.path()).unwrap().test[0].label, 1);
        fs::write(&lines, "../../train/n1/images/a.JPEG\tn2\nv9.JPEG\tn2\n").unwrap();
        let error = list(folder.path()).unwrap_err().to_string();
        assert!(error.contains("val_annotations.txt:1: `../../train") && error.contains(":2: `v9.JPEG`"), "{error}");
    }

    #[test]
    fn everything_that_is_wrong_is_listed_at_once() {
        let folder = made(&["train/cat/notes.txt", "train/dog/a.png", "test/bird/b.png"]);
        let error = list(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("error: 2 places of the folder cannot be used:"), "{error}");
        assert!(
            error.contains("class `bird` has no training images") && error.contains("train/cat: there is no"),
            "{error}"
        );
        let error = list(&folder.path().join("train")).unwrap_err().to_string();
        assert!(error.contains("has no folder `train`") && error.contains("train/CLASS/"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_may_not_lead_out() {
        use std::os::unix::fs::symlink;
        let (folder, other) = (made(&["train/cat/a.png", "train/dog/b.png", "test/cat/c.png"]), made(&["secret.png"]));
        symlink("../cat/a.png", folder.path().join("train/dog/inside.png")).unwrap();
        assert_eq!(list(folder.path()).unwrap().train.len(), 3);
        symlink(other.path().join("secret.png"), folder.path().join("train/dog/out.png")).unwrap();
        symlink(other.path(), folder.path().join("test/dog")).unwrap();
        symlink("..", folder.path().join("train/dog/loop")).unwrap();
        let error = list(folder.path()).unwrap_err().to_string();
        for part in
            ["dog/out.png: it is a link that leads out", "test/dog: it is a link", "dog/loop: it is a link to a folder"]
        {
            assert!(error.contains(part), "{error}");
        }
    }
}
