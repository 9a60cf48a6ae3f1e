//! Data sets on the run's device: bytes stay bytes, and batches are gathered, augmented and scaled
//! there.

mod augment;
mod content;
mod gather;
mod resident;

pub use augment::{Augment, Padding};
pub(crate) use content::content;
pub use content::{load, read, tell};
pub use resident::Resident;

use crate::Result;
use crate::pipeline::Pipeline;

/// Checks that the data set of a pipeline is on this machine, without reading it.
///
/// # Errors
/// When it is not, with the places searched and what to do.
pub fn find(pipeline: &Pipeline) -> Result<()> {
    foil_data::find(&pipeline.data.name, pipeline.data.path.as_deref().map(std::path::Path::new))?;
    Ok(())
}
