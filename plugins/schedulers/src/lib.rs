//! Numbers as functions of progress.

mod constant;
mod cosine;
mod count;
mod multistep;
mod one_cycle;
mod piecewise_linear;
mod points;
mod steps;
#[cfg(test)]
mod testing;
mod warmup;

pub use constant::Constant;
pub use cosine::Cosine;
pub use count::Count;
pub use multistep::Multistep;
pub use one_cycle::{OneCycle, Side};
pub use piecewise_linear::PiecewiseLinear;
pub use steps::Steps;
pub use warmup::Warmup;
