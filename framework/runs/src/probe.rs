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
use foil::registry::DataFacts;
use tch::Tensor;

/// The prefix of the attack network's tensor names, such as those of CAT's mask g.
const LEARNER: &str = "mask.";

/// What attack and loss keep of each training image, such as MMA's `radius`: their state tensors
/// with one row for each image.
fn per_image(step: &Step, data: &DataFacts) -> Vec<(String, Tensor)> {
    let state = step.attack.state().into_iter().chain(step.loss.state());
    state.filter(|(_, t)| t.size().first() == Some(&data.train)).collect()
}
