//! What a pipeline's data set is like, known before it is read.

use super::Pipeline;
use foil::registry::DataFacts;
use foil_config::Problem;

/// Shape and size of the data set that a pipeline names, without reading it.
pub(super) fn facts(pipeline: &Pipeline) -> Result<DataFacts, Problem> {
    let known = foil_data::entry(&pipeline.data.name)
        .map_err(|error| Problem::new("data.name", error.message(), error.help()))?;
    let count = known.counts.train as i64;
    let limit = pipeline.data.train_limit.map_or(count, |limit| limit.min(count as u64) as i64);
    if pipeline.data.validation >= limit as u64 {
        return Err(Problem::new(
            "data.validation",
            format!("`data.validation` holds out {} of {limit} training images", pipeline.data.validation),
            "hold out fewer, so that some are left to train on",
        ));
    }
    let images = limit as u64 - pipeline.data.validation;
    if pipeline.train.steps(images) == 0 {
        let size = pipeline.train.batch_size;
        return Err(Problem::new(
            "train.drop_last",
            format!("`train.drop_last` leaves nothing of {images} training images in batches of {size}"),
            "write a smaller `batch_size`",
        ));
    }
    Ok(of_data(known, Some(limit)))
}

/// Shape and size of a data set, of which the first `limit` training images are used.
pub(super) fn of_data(known: &foil_data::Entry, limit: Option<i64>) -> DataFacts {
    DataFacts {
        channels: known.image[0] as i64,
        height: known.image[1] as i64,
        width: known.image[2] as i64,
        classes: known.classes() as i64,
        train: limit.unwrap_or(known.counts.train as i64),
    }
}
