//! One training step with nothing left to chance, to hold against another implementation.
//!
//! [`Inputs::read`] takes weights and a batch from safetensors files and says everything that is
//! wrong with them, [`probe`] runs the step and hands out every number it made, [`compare`] holds
//! two such sets of numbers against each other. `docs/probe.md` has the names and a whole
//! comparison with PyTorch.

mod compare;
mod input;
mod step;

pub use compare::{Comparison, Difference, compare};
pub use input::Inputs;
pub use step::{Probed, Update, probe};

use crate::attack::Attack;
use crate::registry::DataFacts;
use tch::Tensor;

/// What stands in front of the names of the attack's own network, such as CAT's mask g.
const LEARNER: &str = "mask.";

/// What an attack keeps per training image, such as MMA's `radius`: its state tensors with one row
/// for each.
fn per_image(attack: &dyn Attack, data: &DataFacts) -> Vec<(String, Tensor)> {
    attack.state().into_iter().filter(|(_, t)| t.size().first() == Some(&data.train)).collect()
}
