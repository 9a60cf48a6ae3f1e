//! What a run keeps between steps: out into a checkpoint, and back.

use super::epoch_sums::EpochSums;
use super::folder::Position;
use crate::pipeline::Assembled;
use foil::{Error, Result};
use std::collections::BTreeMap;
use tch::{Device, Tensor};

/// Everything a step keeps between steps, by name, sharing its memory.
pub(super) fn state(parts: &Assembled) -> Vec<(String, Tensor)> {
    let mut state = parts.step.model.state("model.");
    state.extend(parts.step.networks.state("networks."));
    state.extend(parts.step.averages.state());
    state.extend(parts.step.attack.state().into_iter().map(|(name, t)| (format!("attack.{name}"), t)));
    state.extend(parts.step.state_of_loss().into_iter().map(|(name, t)| (format!("loss.{name}"), t)));
    state
}

/// Copies a saved state into the parts, and returns the epoch_sums.
pub(super) fn restore(
    parts: &Assembled,
    saved: &BTreeMap<String, Tensor>,
    position: &Position,
    device: Device,
) -> Result<EpochSums> {
    for (name, mut tensor) in state(parts) {
        let stored = saved.get(&name).filter(|stored| stored.size() == tensor.size());
        let stored = stored.ok_or_else(|| {
            Error::new(format!("`{name}` is missing or of another shape"))
                .help("the state belongs to another pipeline; was resolved.yaml changed?")
        })?;
        tch::no_grad(|| tensor.copy_(stored));
    }
    let sums =
        saved.iter().filter_map(|(name, t)| Some((name.strip_prefix("epoch_sums.")?.to_string(), t.copy()))).collect();
    Ok(EpochSums::restore(sums, position.tallied, device))
}
