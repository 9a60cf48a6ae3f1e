//! Training runs: epochs, checkpoint selection, resume, and the folder a run leaves behind.

mod behind;
mod body;
mod describe;
mod folder;
mod heartbeat;
mod ranks;
mod state;
mod tally;
mod trainer;

pub use body::step_on;
pub(crate) use folder::is_taken;
pub use folder::{Folder, Lock};
pub use heartbeat::Beat;
pub use tally::Tally;
pub use trainer::{Ended, Trainer};
