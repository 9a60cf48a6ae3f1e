//! Data sets on the run's device: bytes stay bytes, and batches are gathered, augmented and scaled
//! there.

mod augment;
mod gather;
mod resident;

pub use augment::{Augment, Padding};
pub use resident::Resident;
