//! What is known about each data set, as constants: sizes, sums, licence, citation, mirrors.

mod cifar;
mod entry;
mod mnist;
mod names;

pub use cifar::{CIFAR10, CIFAR100};
pub use entry::Entry;
pub(crate) use entry::{BuiltIn, Content, DataFile, Forms, Known, Split, Sum};
pub use mnist::{FASHION_MNIST, MNIST, MNIST_SUBSET};

/// Every published data set with constants of its own.
pub fn catalog() -> &'static [&'static Entry] {
    static ALL: [&Entry; 5] = [&CIFAR10, &CIFAR100, &FASHION_MNIST, &MNIST, &MNIST_SUBSET];
    &ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_agrees_with_itself() {
        for entry in catalog() {
            let [channels, ..] = entry.image;
            // Empty where they are measured.
            let lengths = (entry.mean.len(), entry.std.len());
            assert!([(channels, channels), (0, 0)].contains(&lengths), "{}", entry.name);
            for (split, count) in [(Split::Train, entry.counts.train), (Split::Test, entry.counts.test)] {
                let labelled = entry.files.iter().filter(|f| f.split == split && f.content != Content::IdxImages);
                assert_eq!(labelled.map(|f| f.count).sum::<usize>(), count, "{}", entry.name);
            }
            assert!(entry.remotes.iter().all(|r| r.sha256.len() == 64 && r.mirrors.iter().all(|m| m.ends_with('/'))));
            assert_eq!(entry.is_built_in(), entry.remotes.is_empty());
        }
    }
}
