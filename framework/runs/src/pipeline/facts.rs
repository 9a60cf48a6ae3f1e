//! What a pipeline's data set is like, known before it is read.

use super::Pipeline;
use foil::registry::DataFacts;
use foil_config::Problem;

/// Shape and size of the data set that a pipeline names, without reading it.
pub(super) fn facts(pipeline: &Pipeline) -> Result<DataFacts, Problem> {
    let known = DataFacts::from(&crate::data::facts(pipeline).map_err(|error| unusable(&error))?);
    let limit = pipeline.images.train_limit.map_or(known.train, |limit| limit.min(known.train as u64) as i64);
    if pipeline.images.validation >= limit as u64 {
        return Err(Problem::new(
            "images.validation",
            format!("`images.validation` holds out {} of {limit} training images", pipeline.images.validation),
            "hold out fewer, so that some are left to train on",
        ));
    }
    let images = limit as u64 - pipeline.images.validation;
    if pipeline.train.steps(images) == 0 {
        let size = pipeline.train.batch_size;
        return Err(Problem::new(
            "train.drop_last",
            format!("`train.drop_last` leaves nothing of {images} training images in batches of {size}"),
            "write a smaller `batch_size`",
        ));
    }
    Ok(DataFacts { train: limit, ..known })
}

/// A data set that cannot be found or read.
pub(super) fn unusable(error: &foil::Error) -> Problem {
    let help = error.suggestion().unwrap_or_default();
    Problem::new("data", format!("`data` cannot be used: {}", error.message()), help)
}
