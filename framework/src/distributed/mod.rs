//! The same training in many processes: who they are, how they add tensors up, and what becomes of
//! them when one fails.
//!
//! A launcher starts the processes, its environment variables say which rank each is ([`Launch`]),
//! and they meet as a [`World`], whose [`Collective`] is an existing transport: libtorch's own
//! c10d, or MPI; between GPUs it is NCCL. One process is a world too, in which every sum is what it
//! was. What the ranks must agree on before the first step is in `agree`, who failed and when in
//! `fault`.

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

pub use agree::{Agreement, checksum};
pub use collective::{Collective, Pending};
pub use launch::{Launch, Meeting};
pub use share::{Share, share};
pub(crate) use sync_batch_norm::sync_batch_norm;
pub use transport::Transport;
pub use vote::Vote;
pub use world::World;
