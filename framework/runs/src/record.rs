//! What a run leaves on disk, in forms that other programs read.
//!
//! | file | module | who reads it |
//! |---|---|---|
//! | `metrics.jsonl`, `metrics.csv` | [`metrics`] | foil on resume, pandas, spreadsheets |
//! | `events.out.tfevents.…` | [`tensorboard`] | TensorBoard |
//! | model metadata | [`card`] | people, whatever reads safetensors |
//! | `eval.json`, `eval.HASH.json` | [`result`], [`evaluations()`] | reports, leaderboards |
//! | `eval.images.csv` | [`images`] | foil's comparisons, pandas, spreadsheets |
//!
//! [`select`] decides which epoch of a run is its model. A file is either appended to and synced,
//! or replaced through [`foil::atomic`], so a run killed at any moment leaves files that can be
//! read.

pub mod card;
pub mod csv;
pub mod evaluations;
pub mod images;
pub mod metrics;
pub mod result;
pub mod select;
pub mod stamp;
pub mod tensorboard;
pub mod trust;

pub use card::ModelCard;
pub use evaluations::{Evaluation, evaluations};
pub use foil::attack::{Norm, Threat};
pub use images::ImageRecord;
pub use metrics::{MetricsLog, Row, Values};
pub use result::{AttackResult, EvalRecord, Stage};
pub use select::{Best, Rule, RuleError};
pub use tensorboard::{EventWriter, Png};
pub use trust::TrustCheck;
