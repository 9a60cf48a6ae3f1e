//! The captured part of a training step: from the indices of its images to its outcome.

use foil::Result;
use foil::attack::Batch;
use foil::data::{Augment, Resident};
use foil::engine::lap;
use foil::engine::{Outcome, Step};
use foil::nn::Noise;
use foil::scheduler::Clock;
use tch::{Kind, Tensor};

/// Gathers, augments and scales the images at `rows` `[N]` of `data`, and runs `step` on them;
/// returns their labels too.
///
/// Between two steps only tensors change: `rows`, `key` (`[]`, the epoch's key of the random
/// numbers) and the clock's scalars.
///
/// # Errors
/// As [`Step::run`].
pub fn step_on(
    step: &mut Step,
    data: &Resident,
    rows: &Tensor,
    key: &Tensor,
    clock: &Clock,
    augment: Option<&Augment>,
) -> Result<(Outcome, Tensor)> {
    let (x, y, index) = data.batch(rows, Kind::Float, augment.map(|augment| (augment, key)));
    lap("data");
    let noise = Noise::new(key, &index);
    let labels = y.shallow_clone();
    let mut batch = Batch { x, y, index, noise, clock, clean_logits: None };
    Ok((step.run(&mut batch)?, labels))
}
