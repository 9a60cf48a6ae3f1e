//! The environment variables of each launcher.

use super::{Launch, Meeting};
use crate::distributed::hosts::first_node;
use crate::distributed::transport::Transport;
use crate::{Error, Result};
use std::time::Duration;

/// The names of one launcher's variables.
struct Family {
    launcher: &'static str,
    rank: &'static str,
    sizes: &'static [&'static str],
    local_rank: &'static str,
    local_size: &'static str,
    /// A variable without which the others are ignored.
    within: Option<&'static str>,
}

static FAMILIES: [Family; 4] = [
    Family {
        launcher: "torchrun",
        rank: "RANK",
        sizes: &["WORLD_SIZE"],
        local_rank: "LOCAL_RANK",
        local_size: "LOCAL_WORLD_SIZE",
        within: None,
    },
    Family {
        launcher: "Open MPI",
        rank: "OMPI_COMM_WORLD_RANK",
        sizes: &["OMPI_COMM_WORLD_SIZE"],
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
        local_size: "OMPI_COMM_WORLD_LOCAL_SIZE",
        within: None,
    },
    // A batch script has SLURM_PROCID too, but only processes that srun starts are tasks.
    Family {
        launcher: "Slurm",
        rank: "SLURM_PROCID",
        sizes: &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
        local_rank: "SLURM_LOCALID",
        local_size: "SLURM_NTASKS_PER_NODE",
        within: Some("SLURM_STEP_ID"),
    },
    Family {
        launcher: "MPI",
        rank: "PMI_RANK",
        sizes: &["PMI_SIZE"],
        local_rank: "MPI_LOCALRANKID",
        local_size: "MPI_LOCALNRANKS",
        within: None,
    },
];

/// Every variable that identifies this process.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let of = |Family { rank, sizes, local_rank, local_size, within, .. }: &'static Family| {
        [*rank, *local_rank, *local_size].into_iter().chain(sizes.iter().copied()).chain(*within)
    };
    FAMILIES.iter().flat_map(of)
}

/// The default timeout in seconds, which FOIL_TIMEOUT overrides.
const TIMEOUT: u64 = 300;

pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The variables' values, so that tests need no environment.
pub(super) struct Environment<'a>(pub &'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn number(&self, name: &str) -> Result<Option<usize>> {
        let parse = |text: String| {
            text.trim().parse().map_err(|_| {
                Error::new(format!("{name}={text} is not a number"))
                    .help("launchers set it; see docs/distributed.md, or `unset` it for one process")
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// Rank and size from one launcher's variables.
    fn place(&self, family: &Family) -> Result<Option<(usize, usize)>> {
        if family.within.is_some_and(|name| self.get(name).is_none()) {
            return Ok(None);
        }
        let Some(rank) = self.number(family.rank)? else { return Ok(None) };
        let size = family.sizes.iter().find_map(|name| self.number(name).transpose()).transpose()?;
        let Some(size) = size else {
            return Err(Error::new(format!("{} is set, but {} is not", family.rank, family.sizes[0]))
                .help(format!("set both, or `unset {}` for one process", family.rank)));
        };
        if rank >= size {
            return Err(Error::new(format!("{}={rank}, but {}={size}", family.rank, family.sizes[0]))
                .help("ranks count from 0"));
        }
        Ok(Some((rank, size)))
    }

    /// As [`Launch::detect`].
    pub(super) fn launch(&self) -> Result<Option<Launch>> {
        let mut found = Vec::new();
        for family in &FAMILIES {
            if let Some(place) = self.place(family)? {
                found.push((family, place));
            }
        }
        let Some(&(family, (rank, size))) = found.first() else { return Ok(None) };
        // torchrun's workers also see the variables of the launcher that started torchrun; a RANK
        // set by hand must match the launcher's.
        let by_hand = family.launcher == "torchrun" && self.get("TORCHELASTIC_RUN_ID").is_none();
        let other = found.iter().skip(1).find(|(_, place)| by_hand && place.1 > 1 && *place != (rank, size));
        if let Some((other, (other_rank, other_size))) = other {
            return Err(Error::new(format!(
                "RANK={rank} and WORLD_SIZE={size}, but {} says rank {other_rank} of {other_size}",
                other.launcher
            ))
            .help(format!("`unset RANK WORLD_SIZE` to follow {}", other.launcher)));
        }
        let local_size = self.number(family.local_size)?;
        let local_rank = self.number(family.local_rank)?.unwrap_or(0);
        let transport = self.get("FOIL_TRANSPORT").map(|name| Transport::named(&name)).transpose()?;
        // A single process needs no transport, unless one was given.
        let meets = size > 1 || transport.is_some() || self.get("MASTER_ADDR").is_some();
        let meeting = if meets { Some(self.meeting(family, size, local_size)?) } else { None };
        let transport = transport.unwrap_or_default();
        let timeout =
            Duration::from_secs(self.number("FOIL_TIMEOUT")?.map_or(TIMEOUT, |seconds| seconds.max(1) as u64));
        Ok(Some(Launch { launcher: family.launcher, rank, size, local_rank, local_size, meeting, transport, timeout }))
    }

    /// As [`Launch::restarts`].
    pub(super) fn restarts(&self) -> Result<usize> {
        let counts = ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"].map(|name| self.number(name));
        counts.into_iter().try_fold(0, |most, count| Ok(most.max(count?.unwrap_or(0))))
    }

    fn meeting(&self, family: &Family, size: usize, local_size: Option<usize>) -> Result<Meeting> {
        let served = self.get("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value == "True");
        let attempt = self.get("TORCHELASTIC_RESTART_COUNT").unwrap_or_else(|| "0".into());
        let prefix = format!("foil/attempt_{attempt}");
        let port = match self.number("MASTER_PORT")? {
            Some(port) => {
                Some(u16::try_from(port).map_err(|_| Error::new(format!("MASTER_PORT={port} is not a port")))?)
            }
            None => None,
        };
        let job = |names: &[&str]| -> String { names.iter().filter_map(|name| self.get(name)).collect() };
        let (host, default) = match (self.get("MASTER_ADDR"), family.launcher) {
            (Some(host), _) => (host, 29500),
            (None, "Slurm") => {
                let list = self.get("SLURM_STEP_NODELIST").or_else(|| self.get("SLURM_JOB_NODELIST"));
                let host = list.as_deref().and_then(first_node).ok_or_else(|| {
                    Error::new("Slurm's SLURM_STEP_NODELIST names no node").help("set MASTER_ADDR to rank 0's machine")
                })?;
                (host, port_of(&job(&["SLURM_JOB_ID", "SLURM_STEP_ID"])))
            }
            (None, _) if local_size == Some(size) || size == 1 => {
                ("127.0.0.1".into(), port_of(&job(&["PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID"])))
            }
            (None, launcher) => {
                let help = match launcher {
                    "Open MPI" => "mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=29500 …, HOST being rank 0's machine",
                    _ => "set MASTER_ADDR to rank 0's machine, and MASTER_PORT to a free port there",
                };
                return Err(
                    Error::new(format!("{size} ranks, but MASTER_ADDR does not say where they meet")).help(help)
                );
            }
        };
        Ok(Meeting { host, port: port.unwrap_or(default), served, prefix })
    }
}

/// A port for a job, the same on all its ranks, so that jobs on one machine do not collide: 20000
/// to 29999.
fn port_of(job: &str) -> u16 {
    20_000 + (crate::nn::name_key(job) % 10_000) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(variables: &str) -> Result<Option<Launch>> {
        let value = |name: &str| {
            variables.split_whitespace().find_map(|v| Some(v.strip_prefix(name)?.strip_prefix('=')?.to_string()))
        };
        Environment(&value).launch()
    }

    fn described(variables: &str) -> String {
        match launch(variables) {
            Ok(None) => "alone".into(),
            Ok(Some(launch)) => launch.describe(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_launchers_say() {
        for (variables, expected) in [
            ("HOME=/", "alone"),
            // A batch script that does not use srun.
            ("SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_JOB_ID=7", "alone"),
            (
                "RANK=5 WORLD_SIZE=8 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4 MASTER_ADDR=a1 MASTER_PORT=1234",
                "rank 5 of 8 (torchrun), 1 on this machine, meeting at a1:1234, timeout 300 s",
            ),
            (
                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_NAMESPACE=77",
                "rank 1 of 2 (Open MPI), 1 on this machine, meeting at 127.0.0.1:21155, timeout 300 s",
            ),
            (
                "SLURM_STEP_ID=0 SLURM_PROCID=3 SLURM_STEP_NUM_TASKS=16 SLURM_NTASKS=32 SLURM_LOCALID=3 SLURM_STEP_NODELIST=gpu[03-04] MASTER_PORT=5 FOIL_TIMEOUT=20",
                "rank 3 of 16 (Slurm), 3 on this machine, meeting at gpu03:5, timeout 20 s",
            ),
            // srun torchrun …: Slurm's numbers are those of the nodes.
            (
                "RANK=9 WORLD_SIZE=16 LOCAL_RANK=1 MASTER_ADDR=a MASTER_PORT=1 TORCHELASTIC_RUN_ID=x SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=2",
                "rank 9 of 16 (torchrun), 1 on this machine, meeting at a:1, timeout 300 s",
            ),
            ("PMI_RANK=0 PMI_SIZE=1", "rank 0 of 1 (MPI), 0 on this machine, timeout 300 s"),
            #[cfg(feature = "mpi")]
            (
                "PMI_RANK=0 PMI_SIZE=1 FOIL_TRANSPORT=mpi MASTER_PORT=3",
                "rank 0 of 1 (MPI), 0 on this machine, meeting at 127.0.0.1:3, all-reduce over MPI, timeout 300 s",
            ),
            (
                "PMI_RANK=0 PMI_SIZE=1 FOIL_TRANSPORT=gloo MASTER_PORT=3",
                "rank 0 of 1 (MPI), 0 on this machine, meeting at 127.0.0.1:3, timeout 300 s",
            ),
        ] {
            assert_eq!(described(variables), expected, "{variables}");
        }
    }

    #[test]
    fn what_cannot_be() {
        for (variables, expected) in [
            ("RANK=0", "error: RANK is set, but WORLD_SIZE is not"),
            ("RANK=2 WORLD_SIZE=2", "error: RANK=2, but WORLD_SIZE=2\n  help: ranks count from 0"),
            ("RANK=one WORLD_SIZE=2", "error: RANK=one is not a number"),
            ("RANK=0 WORLD_SIZE=2", "error: 2 ranks, but MASTER_ADDR does not say where they meet"),
            ("RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=70000", "error: MASTER_PORT=70000 is not a port"),
            (
                "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a FOIL_TRANSPORT=udp",
                "error: FOIL_TRANSPORT=udp is not a transport\n  help: `gloo` (the default) or `mpi`",
            ),
            #[cfg(not(feature = "mpi"))]
            (
                "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a FOIL_TRANSPORT=mpi",
                "error: FOIL_TRANSPORT=mpi, but this foil was built without MPI\n  help: build it with `--features mpi`",
            ),
            (
                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_SIZE=2",
                "error: 4 ranks, but MASTER_ADDR does not say where they meet\n  help: mpirun -x MASTER_ADDR=HOST",
            ),
            (
                "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2",
                "error: RANK=0 and WORLD_SIZE=2, but Open MPI says rank 1 of 2\n  help: `unset RANK WORLD_SIZE`",
            ),
        ] {
            let found = described(variables);
            assert!(found.starts_with(expected), "{variables}: {found}");
        }
    }

    #[test]
    fn torchruns_own_store_is_used() {
        let variables = "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=1 TORCHELASTIC_USE_AGENT_STORE=True TORCHELASTIC_RESTART_COUNT=2";
        let meeting = launch(variables).unwrap().unwrap().meeting.unwrap();
        assert!(meeting.served);
        assert_eq!(meeting.prefix, "foil/attempt_2");
    }

    #[test]
    fn what_was_started_before() {
        for (variables, expected) in [("HOME=/", 0), ("TORCHELASTIC_RESTART_COUNT=0", 0), ("SLURM_RESTART_COUNT=3", 3)]
        {
            let value = |name: &str| variables.strip_prefix(name)?.strip_prefix('=').map(str::to_string);
            assert_eq!(Environment(&value).restarts().unwrap(), expected, "{variables}");
        }
    }
}
