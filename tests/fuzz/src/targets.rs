//! What is fuzzed: one format a file.

mod checkpoints;
mod data;
mod elf;
mod faults;
mod images;
mod locks;
mod pickles;
mod pipelines;
mod records;
mod run;

use crate::mutate;
use crate::verdict::{LONGEST, Verdict};
use fastrand::Rng;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A format that foil reads.
pub trait Target {
    /// As the command line calls it.
    fn name(&self) -> &'static str;

    /// What it is, in a line.
    fn about(&self) -> &'static str;

    /// How many cases `cargo verify` tries: about two seconds of them.
    fn cases(&self) -> u64;

    /// What is changed, and tried as it is first.
    fn seeds(&self) -> Vec<Vec<u8>>;

    /// A changed `seed`; others may lend parts.
    fn change(&self, random: &mut Rng, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        mutate::bytes(random, seed, seeds)
    }

    /// How long a case may take.
    fn longest(&self) -> Duration {
        LONGEST
    }

    /// Has foil read the input.
    fn run(&self, input: &[u8]) -> Verdict;
}

/// Every target, in the order in which they are tried.
pub fn all() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(pipelines::Pipelines::new()),
        Box::new(pipelines::Overrides::new()),
        Box::new(checkpoints::Safetensors::new()),
        Box::new(checkpoints::Archives::new()),
        Box::new(pickles::Pickles::new()),
        Box::new(pickles::Plain::new()),
        Box::new(data::Data::new()),
        Box::new(images::Images::new()),
        Box::new(elf::Plugins::new()),
        Box::new(locks::Locks::new()),
        Box::new(records::Records::new()),
    ]
}

/// The formats of `data` and `images`, each as a target of its own.
pub fn formats() -> Vec<Box<dyn Target>> {
    let data = data::Data::each().map(|one| Box::new(one) as Box<dyn Target>);
    data.chain(images::Images::each().map(|one| Box::new(one) as _)).collect()
}

/// As [`all`], with [`formats`] and the target that tests the driver.
pub fn every() -> Vec<Box<dyn Target>> {
    all().into_iter().chain(formats()).chain([Box::new(faults::Faults) as _]).collect()
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Inputs that once broke foil, and others that are kept for a target: `seeds/TARGET/`.
fn kept(target: &str) -> Vec<Vec<u8>> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target)).iter().map(|path| read(path)).collect()
}

/// The files in a folder, sorted; none where it is not there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// A file that this crate brings or has made.
fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A safetensors file with its texts in order, which are written in another one each time: a seed
/// is the same in every process.
fn in_order(file: &[u8]) -> Vec<u8> {
    let (length, rest) = file.split_first_chunk::<8>().expect("a length");
    let (header, numbers) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: serde_json::Value = serde_json::from_slice(header).expect("a header");
    if let Some(texts) = header.get_mut("__metadata__").and_then(serde_json::Value::as_object_mut) {
        texts.sort_keys();
    }
    let mut header = serde_json::to_vec(&header).expect("a header");
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, numbers].concat()
}

/// A folder for a target's files; it is removed with the process.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for files")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Verdict;

    /// If the file itself is refused, its changes never reach what comes after the first check.
    #[test]
    fn every_target_has_a_seed_that_is_read() {
        let blind: Vec<&str> = all()
            .iter()
            .chain(&formats())
            .filter(|target| !target.seeds().iter().any(|seed| target.run(seed) == Verdict::Taken))
            .map(|target| target.name())
            .collect();
        assert_eq!(blind, Vec::<&str>::new());
    }
}
