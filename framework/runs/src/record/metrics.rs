//! The metrics of a run, one row per epoch.
//!
//! `metrics.jsonl` is the record: a line is appended and synced at the end of an epoch, so a killed
//! run loses at most the line it was writing. `metrics.csv` says the same for spreadsheets and is
//! replaced each time.
//!
//! ```json
//! {"epoch":1,"step":391,"lr":0.1,"loss":1.0484,"natural":83.25,"pgd10":49.61}
//! ```
//! Numbers are written with the fewest digits that read back as the same number, so equal runs
//! leave equal bytes, as long as no row contains wall times. JSON cannot represent numbers that
//! are not finite: they are the strings `"NaN"`, `"inf"` and `"-inf"`.

mod log;
pub(crate) mod row;

pub use log::{MetricsLog, digest, fault, gap, load, read};
pub use row::{Row, Values};

#[cfg(test)]
mod tests;
