//! What a pipeline's data set is like, known before it is read.

use super::Pipeline;
use foil::registry::DataFacts;
use foil_config::Problem;

/// Shape and size of the data set that a pipeline names, without reading it.
pub(super) fn facts(pipeline: &Pipeline) -> Result<DataFacts, Problem> {
    let facts = crate::data::facts(pipeline).map_err(|error| unusable(&error))?;
    let lacking = |what: &str, help: &str| {
        Err(Problem::new("data", format!("`data` is `{}`, which has no {what} images", pipeline.data.name()), help))
    };
    if facts.counts.train == 0 {
        return lacking("training", "a set to evaluate on belongs under `corruptions`");
    }
    if facts.counts.test == 0 {
        return lacking("test", "name some: a run is evaluated on them");
    }
    if facts.class_names.is_empty() {
        let message = format!("`data` is `{}`, which has no labels", pipeline.data.name());
        return Err(Problem::new("data", message, "unlabelled images can be mixed into a labelled set: `extra`"));
    }
    let known = DataFacts::from(&facts);
    let limit = pipeline.images.train_limit.map_or(known.train, |limit| limit.min(known.train as u64) as i64);
    let held = pipeline.images.validation;
    if held >= limit as u64 {
        return Err(Problem::new(
            "images.validation",
            format!("`images.validation` holds out {held} of {limit} training images"),
            "hold out fewer, so that some are left to train on",
        ));
    }
    let images = limit as u64 - held;
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
