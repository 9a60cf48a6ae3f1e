//! The captured part of a training step: from the indices of its images to its outcome.

use super::feed::batch;
use foil::Result;
use foil::attack::Batch;
use foil::data::{Augmenting, Resident};
use foil::engine::lap;
use foil::engine::{Outcome, Step};
use foil::nn::Noise;
use foil::scheduler::Clock;
use tch::Tensor;

/// Gathers, augments and scales images of `data`, and runs `step` on them; returns the label of
/// each one too, `[N]`. `inputs` are the rows `[N]` of `data`, or what
/// [`Feed::inputs`](super::Feed::inputs) gives.
///
/// Between two steps only tensors change: `inputs`, the epoch's key of the random numbers, and the
/// clock's scalars.
///
/// # Errors
/// As [`Step::run`], and those of an augmentation.
pub fn step_on(
    step: &mut Step,
    data: &Resident,
    inputs: &[Tensor],
    augment: Augmenting,
    clock: &Clock,
) -> Result<(Outcome, Tensor)> {
    let [x, y, index] = batch(data, inputs, Some(augment))?;
    lap("data");
    let noise = Noise::new(augment.key, &index);
    let mut batch = Batch { x, y, index, noise, clock, clean_logits: None };
    let labels = batch.labels();
    Ok((step.run(&mut batch)?, labels))
}
