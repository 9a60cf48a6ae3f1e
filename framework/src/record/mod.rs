//! What a run leaves on disk, in forms that other programs read.
//!
//! | file | module | who reads it |
//! |---|---|---|
//! | `metrics.jsonl`, `metrics.csv` | [`metrics`] | foil on resume, pandas, spreadsheets |
//! | `events.out.tfevents.…` | [`tensorboard`] | TensorBoard |
//! | model metadata, `card.md` | [`card`] | people, Hugging Face, `foil evaluate` |
//! | `result.json` | [`result`] | [`report`](crate::report), leaderboards |
//!
//! [`select`] decides which epoch of a run is its model. A file is either appended to and synced, or replaced through
//! [`atomic`], so a run killed at any moment leaves files that can be read.

pub mod atomic;
pub mod card;
pub(crate) mod csv;
pub mod metrics;
pub mod result;
pub mod select;
pub mod stamp;
pub mod tensorboard;
pub mod threat;

pub use card::{CardError, ModelCard};
pub use metrics::{MetricsLog, Row, Values};
pub use result::{Entry, EvalRecord};
pub use select::{Best, Rule, RuleError};
pub use tensorboard::EventWriter;
pub use threat::{Norm, Threat};
