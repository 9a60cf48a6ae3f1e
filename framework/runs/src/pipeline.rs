//! A training run as YAML: the keys of a file, and how it becomes the parts of a run.

mod assemble;
mod augment;
mod catalog;
mod change;
mod checks;
mod config;
mod extra;
mod facts;
mod files;
mod identity;
mod load;
mod networks;
mod older;
mod partial;
mod provisions;
mod rehearsal;
mod sweep;
mod threats;
mod worklist;

pub use assemble::{Assembled, Evaluated, assemble, assemble_across, assemble_evaluation};
use catalog::Looking;
pub use catalog::Registry;
pub use change::Change;
pub use config::{BatchNorm, ImagesConfig, Log, NetworkConfig, Pipeline, Train};
pub use extra::ExtraConfig;
pub(crate) use extra::{labelling_network, mixes};
pub use load::unchecked;
pub use load::{Loaded, editor_schema, has_python, load, load_across, load_text, look, root_schema};
pub use older::load_to_evaluate;
pub use rehearsal::Rehearsal;
pub use sweep::Combination;
pub use worklist::{Wanted, WorkList, evaluated_alike};
