//! Training in several processes: their ranks, how they sum tensors, and what happens when one
//! fails.
//!
//! A launcher starts the processes, its environment variables give each its rank ([`Launch`]), and
//! they connect as a [`World`], whose [`Collective`] is an existing transport: libtorch's own c10d,
//! or MPI; between GPUs it is NCCL. A single process is a world too, in which a sum changes
//! nothing. `agree` has what must be equal on all ranks before the first step, `fault` how failures
//! are reported.

mod agree;
mod c10d;
mod collective;
mod device;
mod fault;
mod hosts;
mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod nccl;
mod share;
mod sync_batch_norm;
#[cfg(test)]
pub(crate) mod threads;
mod timed;
mod transport;
mod vote;
mod watch;
mod world;

pub use agree::Agreement;
pub use collective::{Collective, Pending};
pub use launch::{Launch, Meeting};
pub use share::{Share, share};
pub(crate) use sync_batch_norm::sync_batch_norm;
pub use transport::Transport;
pub use vote::Vote;
pub use world::World;
