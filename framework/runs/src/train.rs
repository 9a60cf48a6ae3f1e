//! Training runs: epochs, checkpoint selection, resume, and the folder a run leaves behind.

mod collapse;
mod describe;
mod epoch_sums;
mod feed;
mod folder;
mod heartbeat;
mod observer;
mod ranks;
mod state;
mod step_on;
mod trainer;
mod writer;

pub use epoch_sums::EpochSums;
pub use feed::{At, Feed};
pub use folder::{Done, Folder, Lock};
pub use heartbeat::Beat;
pub use observer::Observer;
pub use step_on::step_on;
pub use trainer::{Ended, Trainer};
