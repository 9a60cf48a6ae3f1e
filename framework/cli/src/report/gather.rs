//! Reads runs from their folders, and groups those that differ only in their seed.
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
