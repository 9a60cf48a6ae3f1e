//! The captured part of a training step: from the indices of its images to its outcome.

use super::feed::batch;
use foil::Result;
use foil::attack::Batch;
use foil::data::{Augment, Resident};
use foil::engine::lap;
use foil::engine::{Outcome, Step};
use foil::nn::Noise;
use foil::scheduler::Clock;
use tch::Tensor;

/// Gathers, augments and scales images of `data`, and runs `step` on them; returns their labels
/// too. `inputs` are the rows `[N]` of `data`, or what [`Feed::inputs`](super::Feed::inputs) gives.
///
/// Between two steps only tensors change: `inputs`, `key` (`[]`, the epoch's key of the random
/// numbers) and the clock's scalars.
///
/// # Errors
/// As [`Step::run`].
pub fn step_on(
    step: &mut Step,
    data: &Resident,
    inputs: &[Tensor],
    key: &Tensor,
    clock: &Clock,
    augment: Option<&Augment>,
) -> Result<(Outcome, Tensor)> {
    let (x, y, index) = batch(data, inputs, augment.map(|augment| (augment, key)));
    lap("data");
    let noise = Noise::new(key, &index);
    let labels = y.shallow_clone();
    let mut batch = Batch { x, y, index, noise, clock, clean_logits: None };
    Ok((step.run(&mut batch)?, labels))
}
