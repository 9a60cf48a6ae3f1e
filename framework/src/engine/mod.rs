//! One training step, and what it works on.
//!
//! The engine knows the traits and no method. A step is a fixed sequence of tensor operations over
//! flat buffers, without host reads, so that on CUDA it can be captured as a graph; the CPU runs
//! the same sequence eagerly.

mod capture;
mod ceiling;
pub mod cores;
pub mod cuda;
mod device;
mod guard;
mod learner;
pub mod memory;
mod network;
mod normalize;
mod precision;
mod step;
mod stopwatch;
mod turns;

pub use capture::{Capture, Recorded, Repeated};
pub use ceiling::Ceiling;
pub use ceiling::wait;
pub use device::{DEVICE, Devices, choose, choose_for, devices, is_device, named, shown};
pub use guard::guard;
pub(crate) use guard::raise;
pub use learner::Learner;
pub use network::Network;
pub use normalize::{MeanStd, Normalize, Usual};
pub use precision::{Computing, EvalPrecision, Precision};
pub use step::{Outcome, Step};
pub use stopwatch::{lap, watched};
