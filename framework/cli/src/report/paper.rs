//! The tables of the CAT paper with our figures beside the published ones.
//!
//! The figures and the conditions for a row are data, `tables/*.yaml`; [`fill`] puts runs into
//! them. [`logs`] are published training logs.

mod data;
mod fill;
mod log;
mod robustbench;

pub use data::{Conditions, PaperColumn, PaperRow, PaperTable, fits, numbers, table};
pub use fill::{Filled, Ours, fill};
pub use log::{PaperLog, logs};
pub use robustbench::{Paper, card, has_autoattack, model_info};
