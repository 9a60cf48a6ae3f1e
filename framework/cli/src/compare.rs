//! Many runs side by side: what exists, what is still to be done, and the results.
//!
//! `foil compare` and `foil sweep` make a [`WorkList`](foil_runs::pipeline::WorkList). [`plan`]
//! finds the runs of it that are on disk, [`work`] trains and evaluates the rest in processes of
//! their own, [`Comparison`] puts means, deviations and tests in one table, and [`slurm`] writes
//! the same list for a cluster. Several processes may share the list, as a [`Crew`].

mod crew;
mod differences;
mod gathered;
mod plan;
pub mod significance;
pub mod slurm;
mod summary;
mod worker;

pub use crew::Crew;
pub use differences::Attacks;
pub use gathered::{Comparison, Row, WORST_CASE, oddities};
pub use plan::{State, Task, plan};
pub use summary::per_class;
pub use worker::{Fate, work};
