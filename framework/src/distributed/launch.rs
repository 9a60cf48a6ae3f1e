//! Which of how many processes this is, as the launchers' environment variables say.
//!
//! torchrun (and whoever sets its variables by hand), Open MPI's mpirun, Slurm's srun, and MPICH's
//! or Intel's mpiexec are understood, in this order: who starts torchrun with srun means
//! torchrun's.

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
    /// How many there are.
    pub size: usize,
    /// This process among those on this machine, from 0: which GPU it takes.
    pub local_rank: usize,
    /// How many there are on this machine, if the launcher says so.
    pub local_size: Option<usize>,
    /// Where they meet; none is needed for one process alone.
    pub meeting: Option<Meeting>,
    /// What carries their sums.
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
    /// Tells attempts of one launcher apart.
    pub prefix: String,
}

impl Launch {
    /// What this process's environment says; `None` for a process on its own.
    ///
    /// # Errors
    /// When variables are missing, are no numbers, or contradict each other.
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

    /// Makes of a process that this one starts one on its own, not another rank of the same number.
    pub fn hide_from(command: &mut Command) {
        for name in environment::names() {
            command.env_remove(name);
        }
    }

    /// What is understood, in a line.
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
