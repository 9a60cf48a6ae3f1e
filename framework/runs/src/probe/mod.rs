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

use foil::attack::Attack;
use foil::registry::DataFacts;
use tch::Tensor;

/// The prefix of the attack network's tensor names, such as those of CAT's mask g.
const LEARNER: &str = "mask.";

/// The attack's state per training image, such as MMA's `radius`: its state tensors with one row
/// for each image.
fn per_image(attack: &dyn Attack, data: &DataFacts) -> Vec<(String, Tensor)> {
    attack.state().into_iter().filter(|(_, t)| t.size().first() == Some(&data.train)).collect()
}
