//! This process's rank and the number of ranks, from the launcher's environment variables.
//!
//! Supported are torchrun (or its variables set by hand), Open MPI's mpirun, Slurm's srun, and
//! MPICH's or Intel's mpiexec, in this order: if srun starts torchrun, torchrun's variables are
//! used.

mod environment;

use super::transport::Transport;
use crate::{Error, Result};
use environment::{Environment, variable};
use std::process::Command;
use std::time::Duration;

/// This process among those that train together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Whose variables were read.
    pub launcher: &'static str,
    /// This process, from 0.
    pub rank: usize,
    /// The number of ranks.
    pub size: usize,
    /// This process's number on this machine, from 0: the GPU that it takes.
    pub local_rank: usize,
    /// The number of ranks on this machine, if the launcher gives it.
    pub local_size: Option<usize>,
    /// Where they meet; `None` for a single process.
    pub meeting: Option<Meeting>,
    /// The transport of their sums.
    pub transport: Transport,
    /// How long a rank may keep the others waiting.
    pub timeout: Duration,
}

/// Where the ranks meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// The machine of rank 0.
    pub host: String,
    /// A free port there.
    pub port: u16,
    /// Whether the launcher already serves it, as torchrun does.
    pub served: bool,
    /// Distinguishes attempts of one launcher.
    pub prefix: String,
}

impl Launch {
    /// Reads the environment; `None` for a single process.
    ///
    /// # Errors
    /// When variables are missing, are not numbers, or contradict each other.
    pub fn detect() -> Result<Option<Self>> {
        Environment(&variable).launch()
    }

    /// How often the launcher has started this before: torchrun after a rank failed, Slurm after a
    /// job was requeued.
    ///
    /// # Errors
    /// When a variable is not a number.
    pub fn restarts() -> Result<usize> {
        Environment(&variable).restarts()
    }

    /// Makes a child process a single process, not a second rank with the same number.
    pub fn hide_from(command: &mut Command) {
        for name in environment::names() {
            command.env_remove(name);
        }
    }

    /// A one-line summary.
    pub fn describe(&self) -> String {
        let Self { launcher, rank, size, local_rank, .. } = self;
        let place = self.meeting.as_ref().map_or(String::new(), |m| format!(", meeting at {}:{}", m.host, m.port));
        let timeout = self.timeout.as_secs();
        let over = if self.transport == Transport::Mpi { ", all-reduce over MPI" } else { "" };
        format!("rank {rank} of {size} ({launcher}), {local_rank} on this machine{place}{over}, timeout {timeout} s")
    }

    /// The error of a rank that waited in vain for the others.
    pub(super) fn not_met(&self, meeting: &Meeting, error: &Error) -> Error {
        let Self { rank, size, .. } = self;
        let (others, at) = (size - 1, format!("{}:{}", meeting.host, meeting.port));
        let first = error.message().lines().next().unwrap_or_default();
        Error::new(format!("rank {rank} could not reach the other {others} ranks at {at}: {first}")).help(
            "are all of them running, does MASTER_ADDR name rank 0's machine, and is the port free and open between the machines?",
        )
    }
}
