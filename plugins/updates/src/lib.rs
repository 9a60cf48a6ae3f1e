//! Updates: how a step turns its loss into a change of the weights.

mod awp;
mod plain;
mod sam;

pub use awp::Awp;
pub use plain::Plain;
pub use sam::Sam;
