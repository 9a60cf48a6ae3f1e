//! Data sets on the run's device: bytes stay bytes, and batches are gathered, augmented and scaled
//! there.

mod augment;
mod gather;
mod resident;
mod source;

pub use augment::{Augment, Padding};
pub use foil_data::{Counts, Dataset, Facts, FileSum, Images, Located, PUBLISHED, Remote};
pub use resident::Resident;
pub use source::{DataSource, Reading};
