//! The data sets with a catalog entry: constants, checksums and mirrors.

use crate::pickles;
use foil::data::Remote;
use foil::prelude::*;
use foil_data::{CIFAR10, CIFAR100, DataError, Entry, FASHION_MNIST, MNIST, MNIST_SUBSET};
use std::path::PathBuf;

/// A published data set, and its folder where a pipeline names one.
struct Published {
    entry: &'static Entry,
    folder: Option<PathBuf>,
}

impl DataSource for Published {
    fn facts(&self) -> Result<Facts> {
        Ok(self.entry.facts())
    }

    fn locate(&self) -> Result<Located> {
        match self.entry.locate(self.folder.as_deref()) {
            Err(DataError::PythonPickles { place, .. }) => pickles::locate(&place),
            found => Ok(found?),
        }
    }

    fn read(&self, _: &Reading) -> Result<Dataset> {
        match self.entry.load(self.folder.as_deref()) {
            Err(DataError::PythonPickles { place, .. }) => pickles::read(self.entry, &place),
            found => Ok(found?),
        }
    }

    fn remotes(&self) -> Vec<Remote> {
        self.entry.remotes.to_vec()
    }
}

/// Settings with a `path`, under the name of the catalog's entry.
macro_rules! published {
    ($($(#[$about:meta])+ $config:ident, $name:literal, $entry:ident;)+) => {$(
        $(#[$about])+
        #[settings]
        pub struct $config {
            /// The folder with its files, the folder above, or the published archive; by default
            /// foil looks for it (`foil data list` says where).
            #[set(default)]
            pub path: Option<DataPath>,
        }

        impl Config<dyn DataSource> for $config {
            fn build(&self, cx: &Build) -> Result<Box<dyn DataSource>> {
                Ok(Box::new(Published { entry: &$entry, folder: self.path.as_ref().map(|path| cx.place(path)) }))
            }
        }

        register!(dyn DataSource, $name, $config, "{}");
    )+};
}

published! {
    /// MNIST: handwritten digits in 10 classes, grey, 28 x 28, 60,000 to train on and 10,000 to
    /// test on (LeCun et al., 1998).
    Mnist, "mnist", MNIST;
    /// Fashion-MNIST: photographs of clothes in 10 classes, grey, 28 x 28, 60,000 to train on and
    /// 10,000 to test on (Xiao et al., 2017).
    FashionMnist, "fashion_mnist", FASHION_MNIST;
    /// CIFAR-10: photographs in 10 classes, colour, 32 x 32, 50,000 to train on and 10,000 to test
    /// on (Krizhevsky, 2009).
    Cifar10, "cifar10", CIFAR10;
    /// CIFAR-100: photographs in 100 classes, colour, 32 x 32, 50,000 to train on and 10,000 to
    /// test on (Krizhevsky, 2009).
    Cifar100, "cifar100", CIFAR100;
}

/// The first 1,000 training and 200 test images of each digit of MNIST; they come with foil.
#[settings]
pub struct MnistSubset {}

impl Config<dyn DataSource> for MnistSubset {
    fn build(&self, _: &Build) -> Result<Box<dyn DataSource>> {
        Ok(Box::new(Published { entry: &MNIST_SUBSET, folder: None }))
    }
}

register!(dyn DataSource, "mnist_subset", MnistSubset, "{}");
