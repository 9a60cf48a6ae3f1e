//! Updates: how a step turns its loss into a change of the weights.

mod awp;
mod plain;
mod replay;
mod sam;

pub use awp::Awp;
pub use plain::Plain;
pub use replay::Replay;
pub use sam::Sam;
