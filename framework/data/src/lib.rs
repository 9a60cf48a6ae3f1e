//! **MNIST, CIFAR-10 and CIFAR-100: found, fetched, read into memory and checked.** No libtorch in
//! here.
//!
//! ```
//! let data = foil_data::MNIST_SUBSET.load(None)?; // built in, so this works everywhere
//! assert_eq!((data.train.len(), data.test.len()), (10_000, 2_000));
//! assert_eq!(data.train.shape(), [10_000, 1, 28, 28]);
//! # Ok::<(), foil_data::DataError>(())
//! ```
//!
//! A data set goes through four steps, each a file or folder of this crate:
//!
//! 1. `catalog`: what is known about it (sizes, sums, licence, mirrors), as constants;
//! 2. `find`: the folder it lies in, and in which `layout` (published files, an archive, WebP
//!    strips);
//! 3. `layout`, `bounded`, `archive`, `strips`: the bytes of its published files, never more than
//!    they may hold;
//! 4. `idx`, `records`, `sums`, `assemble`: those bytes checked and turned into [`Images`].
//!
//! `download` puts the published files where `find` looks. To add a data set, add an
//! [`DatasetInfo`] to the catalog.

mod archive;
mod assemble;
mod bounded;
mod catalog;
mod dataset;
mod download;
mod error;
mod facts;
mod fault;
mod find;
mod idx;
mod layout;
mod pixels;
mod records;
mod strips;
mod sums;

#[doc(hidden)]
pub mod test_set;

pub use bounded::open;
pub use catalog::{CIFAR10, CIFAR100, DatasetInfo, FASHION_MNIST, MNIST, MNIST_SUBSET, catalog};
pub use dataset::{Dataset, FileSum, Images, PUBLISHED};
pub use download::{Progress, download};
pub use error::{Attempt, DataError};
pub use facts::{Counts, Facts, Located, Remote};
pub use find::{cache_folder, places};
pub use pixels::Pixels;
