//! **foil is a framework for adversarial training: it trains robust image classifiers.**
//!
//! A small engine that knows a few traits, plugins that implement them, and YAML pipelines that
//! compose plugins into training runs. Start with [`loss::Loss`], the trait a newcomer writes
//! first, then [`attack::Attack`]; `docs/` has the map.

extern crate self as foil;

pub mod attack;
pub mod augment;
pub mod average;
pub mod data;
pub mod distributed;
pub mod engine;
pub mod loss;
pub mod model;
pub mod nn;
pub mod objective;
pub mod optim;
#[doc(hidden)]
#[allow(missing_docs)]
pub mod pickle;
pub mod plugin;
pub mod registry;
pub mod scheduler;
pub mod tensors;
pub mod testing;
pub mod update;

pub use foil_macros::settings;
pub use foil_torch::{
    AtPath, Error, Result, atomic, cuda, distinct, error, guard, hash, program, raise, regular, shim,
};

/// This version of foil.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of libtorch it is built for.
pub const LIBTORCH: &str = "2.11.0";
/// The version of the bindings to it.
pub const TCH: &str = "0.24.0";

/// What a plugin needs, in one line.
pub mod prelude {
    pub use crate::attack::{Adversarial, Ascent, Attack, Batch, Box01, Learning, Norm, Target, Threat};
    pub use crate::augment::{Augment, Mixed};
    pub use crate::average::Average;
    pub use crate::data::{Counts, DataSource, Dataset, Facts, Images, Located, Reading};
    pub use crate::engine::{Learner, Network};
    pub use crate::loss::{Forward, ImageSet, Loss, LossInput, LossOutput, terms};
    pub use crate::model::Model;
    pub use crate::nn::{self, BatchNorm2d, Builder, Conv2d, Group, Linear, Mode, Noise, Pass, Span};
    pub use crate::objective::{Objective, Reference};
    pub use crate::optim::{Decay, Optimizer};
    pub use crate::registry::{Build, Component, Config, DataPath};
    pub use crate::scheduler::{Clock, Progress, Scheduled, Scheduler};
    pub use crate::update::{Descent, Update};
    pub use crate::{Error, Result, register, settings};
    pub use tch::{self, Kind, Tensor};
    pub use tracing;
}

/// Used by macros.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
    pub use schemars;
    pub use serde;
}
