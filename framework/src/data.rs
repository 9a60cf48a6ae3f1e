//! Data sets on the run's device: bytes stay bytes, and batches are gathered, augmented and scaled
//! there.

mod augmentations;
mod gather;
mod mixture;
mod resident;
mod shift;
mod source;

pub use augmentations::{Augmentations, Augmenting};
pub use foil_data::{Counts, Dataset, Facts, FileSum, Images, Located, PUBLISHED, Pixels, Remote, cache_folder};
pub use mixture::{Drawn, Mixture};
pub use resident::{Extra, Resident};
pub use shift::{Padding, Shift};
pub use source::{DataSource, Reading};
