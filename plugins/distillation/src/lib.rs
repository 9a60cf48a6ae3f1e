//! Losses in which the model learns from another network: `networks: { teacher: … }`.

mod ard;
mod lbgat;
mod rslad;
#[cfg(test)]
mod testing;

pub use ard::Ard;
pub use lbgat::Lbgat;
pub use rslad::Rslad;

use foil::prelude::*;

/// The teacher's logits of the clean images.
const TEACHER: Forward = Forward::Network("teacher", ImageSet::Clean);
