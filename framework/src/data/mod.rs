//! Data sets on the run's device: bytes stay bytes, and batches are gathered, augmented and scaled
//! there.

mod augment;
mod gather;
mod mixture;
mod resident;
mod source;

pub use augment::{Augment, Padding};
pub use foil_data::{Counts, Dataset, Facts, FileSum, Images, Located, PUBLISHED, Remote, cache_folder};
pub use mixture::{Drawn, Mixture};
pub use resident::{Extra, Resident};
pub use source::{DataSource, Reading};
