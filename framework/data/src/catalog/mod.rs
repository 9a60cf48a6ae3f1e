//! What is known about each data set, as constants: sizes, sums, licence, citation, mirrors.

mod cifar;
mod entry;
mod mnist;
mod names;

pub(crate) use entry::{BuiltIn, Content, DataFile, Forms, Known, Split, Sum};
pub use entry::{Counts, Entry, Remote};

use crate::error::DataError;

/// Every data set that foil knows, by name.
pub fn catalog() -> &'static [&'static Entry] {
    static ALL: [&Entry; 4] = [&cifar::CIFAR10, &cifar::CIFAR100, &mnist::MNIST, &mnist::MNIST_SUBSET];
    &ALL
}

/// The data set of this name.
///
/// # Errors
/// `UnknownName`, with the names that exist.
pub fn entry(name: &str) -> Result<&'static Entry, DataError> {
    let known = || catalog().iter().map(|entry| entry.name).collect();
    let found = catalog().iter().find(|entry| entry.name == name);
    found.copied().ok_or_else(|| DataError::UnknownName { name: name.to_string(), known: known() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_agrees_with_itself() {
        for entry in catalog() {
            let [channels, ..] = entry.image;
            assert_eq!((entry.mean.len(), entry.std.len()), (channels, channels), "{}", entry.name);
            for (split, count) in [(Split::Train, entry.counts.train), (Split::Test, entry.counts.test)] {
                let labelled = entry.files.iter().filter(|f| f.split == split && f.content != Content::IdxImages);
                assert_eq!(labelled.map(|f| f.count).sum::<usize>(), count, "{}", entry.name);
            }
            assert!(entry.remotes.iter().all(|r| r.sha256.len() == 64 && r.mirrors.iter().all(|m| m.ends_with('/'))));
            assert_eq!(entry.is_built_in(), entry.remotes.is_empty());
        }
    }

    #[test]
    fn a_name_written_differently_is_suggested() {
        let error = entry("CIFAR-10").unwrap_err().to_string();
        assert_eq!(
            error,
            "no data set is called `CIFAR-10`\n  help: did you mean `cifar10`? \
             known data sets: cifar10, cifar100, mnist, mnist_subset"
        );
    }
}
