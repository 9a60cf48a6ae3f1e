//! Data sets on the run's device: bytes stay bytes, and batches are gathered, augmented and scaled there.

mod augment;
mod gather;
mod resident;

pub use augment::{Augment, Padding};
pub use resident::Resident;

use crate::Result;
use crate::pipeline::Pipeline;

/// Says whether the data set of a pipeline is on this machine, without reading it.
///
/// # Errors
/// When it is not, with the places looked and what to do.
pub fn find(pipeline: &Pipeline) -> Result<()> {
    foil_data::find(&pipeline.data.name, pipeline.data.path.as_deref().map(std::path::Path::new))?;
    Ok(())
}

/// Reads the data set of a pipeline into memory; what was noticed on the way goes to the log.
///
/// # Errors
/// When it is not found, or its files are not what they should be.
pub fn read(pipeline: &Pipeline) -> Result<foil_data::Dataset> {
    let data = load(pipeline)?;
    tell(&data);
    Ok(data)
}

/// The same where there is no log yet: [`tell`] follows when there is.
pub(crate) fn load(pipeline: &Pipeline) -> Result<foil_data::Dataset> {
    let folder = pipeline.data.path.as_deref().map(std::path::Path::new);
    Ok(foil_data::load(&pipeline.data.name, folder)?)
}

/// Logs what was noticed while a data set was read.
pub(crate) fn tell(data: &foil_data::Dataset) {
    for note in &data.notes {
        tracing::warn!("{note}");
    }
}
