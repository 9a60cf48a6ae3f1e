//! The outcome for each image of an evaluation, as a CSV file beside the record: `eval.json` has
//! `eval.images.csv`.
//!
//! ```csv
//! index,label,natural,natural.margin,pgd20,pgd20.margin,broken_by
//! 0,7,1,4.25,0,-0.5,pgd20
//! ```
//! An entry's column is 1 if the image was classified correctly under it, 0 if it was broken; its
//! margin is z_y minus the largest other logit at the attacked image. `broken_by` is the first
//! entry that broke the image, or the stage for a chain (`autoattack.square`); empty if none did.

use foil::atomic;
use std::io;
use std::path::{Path, PathBuf};

/// Which attack broke which image, and at what margin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageRecord {
    index: Vec<i64>,
    labels: Vec<i64>,
    entries: Vec<Outcome>,
    broken_by: Vec<String>,
}

/// The images under one entry.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    name: String,
    right: Vec<bool>,
    /// For each image z_y minus the largest other logit at the attacked image, in logits; NaN if
    /// the model returned no finite logits.
    margins: Vec<f32>,
}

const BROKEN_BY: &str = "broken_by";

impl ImageRecord {
    /// Images by their indices in the test set, with their labels, before any attack.
    ///
    /// # Panics
    /// When there are not as many labels as indices.
    pub fn new(index: Vec<i64>, labels: Vec<i64>) -> Self {
        assert_eq!(index.len(), labels.len(), "one label for each image");
        let broken_by = vec![String::new(); labels.len()];
        Self { index, labels, entries: Vec::new(), broken_by }
    }

    /// Adds an entry. `stages` holds for each image the stage that broke it, if the entry is a
    /// chain; otherwise it is empty.
    ///
    /// # Panics
    /// When there are not as many outcomes as images.
    pub fn push(&mut self, name: &str, right: Vec<bool>, margins: Vec<f32>, stages: &[Option<String>]) {
        assert!(right.len() == self.len() && margins.len() == self.len(), "one outcome for each image");
        for (i, by) in self.broken_by.iter_mut().enumerate().filter(|(i, by)| !right[*i] && by.is_empty()) {
            let stage = stages.get(i).and_then(Option::as_ref);
            *by = stage.map_or_else(|| name.to_string(), |stage| format!("{name}.{stage}"));
        }
        self.entries.push(Outcome { name: name.to_string(), right, margins });
    }

    /// The path of the image record that belongs to the evaluation record at `record`.
    pub fn beside(record: &Path) -> PathBuf {
        record.with_extension("images.csv")
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The images' indices in the test set.
    pub fn index(&self) -> &[i64] {
        &self.index
    }

    fn entry(&self, name: &str) -> Option<&Outcome> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// For each image, whether it was classified correctly under an entry; `None` if there is no
    /// such entry.
    pub fn right(&self, entry: &str) -> Option<&[bool]> {
        self.entry(entry).map(|entry| entry.right.as_slice())
    }

    /// The first entry that broke each image, `entry.stage` for a chain; empty if none did.
    pub fn broken_by(&self) -> &[String] {
        &self.broken_by
    }

    /// Images classified correctly under every entry, in percent; `None` without entries or
    /// images.
    pub fn worst_case(&self) -> Option<f64> {
        let standing = self.broken_by.iter().filter(|by| by.is_empty()).count();
        (!self.entries.is_empty() && !self.is_empty()).then(|| 100.0 * standing as f64 / self.len() as f64)
    }

    /// (class, number of its images, percent of them classified correctly under the entry) for
    /// each class that has images; empty when there is no such entry.
    pub fn per_class(&self, entry: &str) -> Vec<(i64, usize, f64)> {
        let mut classes = std::collections::BTreeMap::<i64, (usize, usize)>::new();
        for (&label, &right) in self.labels.iter().zip(self.right(entry).unwrap_or_default()) {
            let (n, hits) = classes.entry(label).or_default();
            *n += 1;
            *hits += usize::from(right);
        }
        classes.into_iter().map(|(class, (n, hits))| (class, n, 100.0 * hits as f64 / n as f64)).collect()
    }

    /// Writes the table to `path`, whole or not at all; returns the file's SHA-256 in hex.
    ///
    /// # Errors
    /// The system's error with the path in its text.
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<String> {
        let mut table = ::csv::Writer::from_writer(Vec::new());
        let mut head = vec!["index".to_string(), "label".to_string()];
        for entry in &self.entries {
            head.extend([entry.name.clone(), format!("{}.margin", entry.name)]);
        }
        head.push(BROKEN_BY.to_string());
        table.write_record(&head)?;
        for (i, by) in self.broken_by.iter().enumerate() {
            let mut row = vec![self.index[i].to_string(), self.labels[i].to_string()];
            for entry in &self.entries {
                row.extend([u8::from(entry.right[i]).to_string(), entry.margins[i].to_string()]);
            }
            row.push(by.clone());
            table.write_record(&row)?;
        }
        let bytes = table.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        let sum = foil::hash::hash(&bytes);
        atomic::write(path, bytes).map(|()| sum)
    }

    /// Reads a table.
    ///
    /// # Errors
    /// `InvalidData`, with the line, when the file is not such a table; otherwise the system's
    /// error; both with the path in the text.
    pub fn load(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let read = || Self::read(&foil::regular::read(path, foil::regular::TEXT)?);
        read().map_err(|error| atomic::at(path, error))
    }

    fn read(bytes: &[u8]) -> io::Result<Self> {
        let wrong = |line: usize, why: String| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {line}: not a record of images: {why}"))
        };
        let mut table = ::csv::Reader::from_reader(bytes);
        let head = table.headers()?.clone();
        let names: Vec<&str> = head.iter().collect();
        let entries = match names[..] {
            ["index", "label", ref entries @ .., BROKEN_BY] if entries.len() % 2 == 0 => entries,
            _ => return Err(wrong(1, "its columns are not `index,label,…,broken_by`".into())),
        };
        let mut record = Self::default();
        for pair in entries.chunks_exact(2) {
            if pair[1] != format!("{}.margin", pair[0]) {
                return Err(wrong(1, format!("expected `{}.margin`, found `{}`", pair[0], pair[1])));
            }
            record.entries.push(Outcome { name: pair[0].to_string(), right: Vec::new(), margins: Vec::new() });
        }
        for (i, row) in table.records().enumerate() {
            let row = row?; // the csv crate refuses rows of another length, and names the line.
            let not = |what: &str| wrong(i + 2, format!("`{what}` is not a number"));
            let whole = |at: usize| row[at].parse::<i64>().map_err(|_| not(&row[at]));
            record.index.push(whole(0)?);
            record.labels.push(whole(1)?);
            for (entry, at) in record.entries.iter_mut().zip((2..).step_by(2)) {
                entry.right.push(match &row[at] {
                    "1" => true,
                    "0" => false,
                    other => return Err(wrong(i + 2, format!("`{other}` is neither 1 nor 0"))),
                });
                entry.margins.push(row[at + 1].parse().map_err(|_| not(&row[at + 1]))?);
            }
            record.broken_by.push(row[row.len() - 1].to_string());
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn record() -> ImageRecord {
        let mut record = ImageRecord::new(vec![0, 1, 2, 5], vec![7, 2, 7, 2]);
        record.push("natural", vec![true, true, false, true], vec![4.25, 1.5, -0.125, 3.0], &[]);
        let stages = [None, Some("square".to_string()), Some("apgd_ce".to_string()), None];
        record.push("autoattack", vec![true, false, false, true], vec![0.5, -1e-7, f32::NEG_INFINITY, 0.1], &stages);
        record.push("pgd20", vec![true, false, false, false], vec![1.0, -1.0, -1.0, -1.0], &[]);
        record
    }

    #[test]
    fn the_first_that_breaks_an_image_is_named() {
        let record = record();
        assert_eq!(record.broken_by(), ["", "autoattack.square", "natural", "pgd20"]);
        assert_eq!(record.right("pgd20").unwrap(), [true, false, false, false]);
        assert_eq!((record.right("cw"), record.worst_case()), (None, Some(25.0)));
        assert_eq!(record.per_class("autoattack"), [(2, 2, 50.0), (7, 2, 50.0)]);
        assert_eq!(record.per_class("natural"), [(2, 2, 100.0), (7, 2, 50.0)]);
        assert_eq!(record.per_class("cw"), []);
    }

    #[test]
    fn written_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = ImageRecord::beside(&folder.path().join("eval.json"));
        assert!(path.ends_with("eval.images.csv"), "{}", path.display());
        record().write(&path).unwrap();
        assert_eq!(ImageRecord::load(&path).unwrap(), record());
        let text = fs::read_to_string(&path).unwrap();
        let head = "index,label,natural,natural.margin,autoattack,autoattack.margin,pgd20,pgd20.margin,broken_by\n";
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with("5,2,1,3,1,0.1,0,-1,pgd20\n"), "{text}");
    }

    #[test]
    fn another_file_is_named_with_the_line_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eval.images.csv");
        for (text, why) in [
            ("a,b\n1,2\n", "line 1: not a record of images: its columns are not"),
            ("index,label,a,b,broken_by\n", "line 1: not a record of images: expected `a.margin`, found `b`"),
            (
                "index,label,a,a.margin,broken_by\n0,1,2,0.5,\n",
                "line 2: not a record of images: `2` is neither 1 nor 0",
            ),
            ("index,label,broken_by\n0,x,\n", "line 2: not a record of images: `x` is not a number"),
            ("index,label,broken_by\n0,\n", "line: 2"),
        ] {
            fs::write(&path, text).unwrap();
            let error = ImageRecord::load(&path).unwrap_err().to_string();
            assert!(error.contains("eval.images.csv: ") && error.contains(why), "{error}");
        }
        assert_eq!(ImageRecord::load(folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
