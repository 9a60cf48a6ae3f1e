//! One training step without randomness, to compare with another implementation.
//!
//! [`Inputs::read`] takes weights and a batch from safetensors files and reports all problems with
//! them, [`probe`] runs the step and returns every number it computed, [`compare`] compares two
//! such sets of numbers. `docs/probe.md` has the names and a complete comparison with PyTorch.

mod compare;
mod input;
mod step;

pub use compare::{Comparison, Difference, compare};
pub use input::Inputs;
pub use step::{Probed, Update, probe};

use foil::engine::Step;
use tch::Tensor;

/// The prefix of the attack network's tensor names, such as those of CAT's mask g.
const LEARNER: &str = "mask.";

/// What attack and loss keep between steps, such as MMA's `radius`.
struct Kept {
    name: String,
    /// It shares the memory of attack or loss.
    all: Tensor,
    /// Whether it has a row for each training image.
    per_image: bool,
}

/// What attack and loss keep, but for the attack's own network.
fn kept(step: &Step) -> Vec<Kept> {
    let mut rows = step.attack.learning().map_or_else(Vec::new, |learning| learning.per_image());
    rows.extend(step.loss.per_image());
    let state = step.attack.state().into_iter().chain(step.loss.state());
    let own = |name: &str| step.attack.learner().is_some() && name.starts_with(LEARNER);
    state
        .filter(|(name, _)| !own(name))
        .map(|(name, all)| Kept { per_image: rows.contains(&name), name, all })
        .collect()
}
