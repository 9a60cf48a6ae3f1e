//! One training step, and what it works on.
//!
//! The engine knows the traits and no method. A step is a fixed sequence of tensor operations over
//! flat buffers, without host reads, so that on CUDA it can be captured as a graph; the CPU runs
//! the same sequence eagerly.

mod averaged;
mod capture;
mod descent;
mod device;
mod learner;
mod merged_passes;
mod network;
mod networks;
mod normalize;
mod passes;
mod precision;
mod step;

pub use averaged::{Averaged, Averages};
pub use capture::{Capture, Recorded, Repeated};
pub use device::choose_for;
pub use foil_torch::device::{DEVICE, Devices, choose, devices, is_device, named, shown};
pub use foil_torch::stopwatch::{lap, watched};
pub use foil_torch::{Ceiling, cores, memory, wait};
pub use learner::Learner;
pub use network::Network;
pub use networks::{Further, Networks};
pub use normalize::{MeanStd, Normalize, Usual};
pub use passes::no_feature;
pub use precision::{Computing, EvalPrecision, Precision};
pub use step::{Outcome, Step};
