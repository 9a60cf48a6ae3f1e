//! The data sets in the catalog: constants, checksums and mirrors.

use crate::pickles;
use foil::data::Remote;
use foil::prelude::*;
use foil_data::{CIFAR10, CIFAR100, DataError, DatasetInfo, FASHION_MNIST, MNIST, MNIST_SUBSET};
use std::path::PathBuf;

/// A published data set, and its folder where a pipeline names one.
struct Published {
    info: &'static DatasetInfo,
    folder: Option<PathBuf>,
}

impl DataSource for Published {
    fn facts(&self) -> Result<Facts> {
        Ok(self.info.facts())
    }

    fn locate(&self) -> Result<Located> {
        match self.info.locate(self.folder.as_deref()) {
            Err(DataError::PythonPickles { place, .. }) => pickles::locate(&place),
            found => Ok(found?),
        }
    }

    fn read(&self, _: &Reading) -> Result<Dataset> {
        match self.info.load(self.folder.as_deref()) {
            Err(DataError::PythonPickles { place, .. }) => pickles::read(self.info, &place),
            found => Ok(found?),
        }
    }

    fn remotes(&self) -> Vec<Remote> {
        self.info.remotes.to_vec()
    }
}

/// Settings with a `path`, under the name of a data set in the catalog.
macro_rules! published {
    ($($(#[$about:meta])+ $config:ident, $name:literal, $info:ident;)+) => {$(
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
                Ok(Box::new(Published { info: &$info, folder: self.path.as_ref().map(|path| cx.place(path)) }))
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
        Ok(Box::new(Published { info: &MNIST_SUBSET, folder: None }))
    }
}

register!(dyn DataSource, "mnist_subset", MnistSubset, "{}");
