//! Runs read from their folders, and the runs that differ only in their seed taken together.
//!
//! ```text
//! runs/AT, runs/AT-seed2, runs/TRADES  →  AT (seeds 0, 2), TRADES (seed 0)
//! ```

mod group;
mod run;
mod spread;

pub use group::{Group, entries, group};
pub use run::{Run, Stage, find, named};
pub use spread::Spread;
