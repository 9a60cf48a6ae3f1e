//! Averages of the weights over the training, which are evaluated in place of the weights.

mod ema;
mod swa;

pub use ema::Ema;
pub use swa::Swa;
