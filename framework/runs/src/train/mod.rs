//! Training runs: epochs, checkpoint selection, resume, and the folder a run leaves behind.

mod behind;
mod body;
mod describe;
mod folder;
mod heartbeat;
mod observer;
mod ranks;
mod state;
mod tally;
mod trainer;

pub use body::step_on;
pub use folder::{Done, Folder, Lock};
pub use heartbeat::Beat;
pub use observer::Observer;
pub use tally::Tally;
pub use trainer::{Ended, Trainer};
