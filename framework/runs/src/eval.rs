//! Evaluating a network: the share of images it classifies correctly under an attack.
//!
//! [`evaluate`] is `foil eval`: a checkpoint under a suite of attacks, up to its record. Within it,
//! [`Trial`] is one attack over a split, batch by batch; [`AttackProgress`] is its results so far,
//! which can be stored and resumed; [`HeartbeatFile`] reports its progress to other processes.

mod adversarial;
mod corruptions;
mod evaluate;
mod heartbeat;
mod place;
mod progress;
mod saved;
mod trial;
pub mod trust;
mod under_way;

pub use adversarial::{Found, Images};
pub use corruptions::{CORRUPTIONS, Corruptions, Part, measure as measure_corruptions, source as corruptions};
pub use evaluate::{Observer, Options, evaluate};
pub use heartbeat::{EvalHeartbeat, HeartbeatFile};
pub use place::check_out;
pub use progress::AttackProgress;
pub use saved::Saved;
pub use trial::{Tick, Trial};
pub use under_way::UnderWay;

use tch::{Kind, Tensor};

/// The name of the accuracy without an attack.
pub const NATURAL: &str = "natural";

/// Percent of true values.
pub fn percent(right: &Tensor) -> f64 {
    right.to_kind(Kind::Double).mean(None::<Kind>).double_value(&[]) * 100.0
}
