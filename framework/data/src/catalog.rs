//! What is known about each data set, as constants: sizes, sums, licence, citation, mirrors.

mod cifar;
mod info;
mod mnist;
mod names;

pub use cifar::{CIFAR10, CIFAR100};
pub use info::DatasetInfo;
pub(crate) use info::{BuiltIn, Content, DataFile, Forms, Known, Split, Sum};
pub use mnist::{FASHION_MNIST, MNIST, MNIST_SUBSET};

/// Every published data set with constants of its own.
pub fn catalog() -> &'static [&'static DatasetInfo] {
    static ALL: [&DatasetInfo; 5] = [&CIFAR10, &CIFAR100, &FASHION_MNIST, &MNIST, &MNIST_SUBSET];
    &ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_agrees_with_itself() {
        for info in catalog() {
            let [channels, ..] = info.image;
            // Empty where they are measured.
            let lengths = (info.mean.len(), info.std.len());
            assert!([(channels, channels), (0, 0)].contains(&lengths), "{}", info.name);
            for (split, count) in [(Split::Train, info.counts.train), (Split::Test, info.counts.test)] {
                let labelled = info.files.iter().filter(|f| f.split == split && f.content != Content::IdxImages);
                assert_eq!(labelled.map(|f| f.count).sum::<usize>(), count, "{}", info.name);
            }
            assert!(info.remotes.iter().all(|r| r.sha256.len() == 64 && r.mirrors.iter().all(|m| m.ends_with('/'))));
            assert_eq!(info.is_built_in(), info.remotes.is_empty());
        }
    }
}
