//! Commands that run in several processes: joining, and ending together.

use super::{Exit, tell};
use crate::compare::Crew;
use foil::distributed::{Launch, World};
use foil::engine::{DEVICE, devices};
use foil::{Error, Result};
use std::process::ExitCode;

/// Runs `command` as one rank of the world described by the environment. If it fails, all ranks
/// end, and one of them reports why.
pub(super) fn together(command: impl FnOnce(World) -> Exit) -> Exit {
    let world = World::from_environment()?;
    share_processor(world);
    let error = match command(world).and_then(|code| world.finish().map(|()| code)) {
        Ok(code) => return Ok(code),
        Err(error) => world.explain(error),
    };
    if world.is_silent() {
        tell(&format!("{} ends with the run", world.name_of(world.rank())));
        return Ok(ExitCode::FAILURE);
    }
    Err(error)
}

/// Refuses to run in several processes.
pub(super) fn one_process(command: &str) -> Result<()> {
    match Launch::detect()? {
        Some(launch) if launch.size > 1 => {
            Err(Error::new(format!("`foil {command}` runs in one process, not in {}", launch.size)).help(
                "`foil train`, `eval` and `bench` run in several; `compare`, `sweep` and `figure` share their runs",
            ))
        }
        _ => Ok(()),
    }
}

/// This process among those that share a list of runs, from the environment. They do not connect:
/// each trains its own runs.
pub(super) fn crew() -> Result<Crew> {
    let Some(launch) = Launch::detect()?.filter(|launch| launch.size > 1) else { return Ok(Crew::alone()) };
    let (rank, size, local, found) = (launch.rank, launch.size, launch.local_rank, devices().cuda);
    let pinned = std::env::var_os(DEVICE).is_some_and(|device| !device.is_empty());
    let gpu = Some(local).filter(|_| found > 0 && !pinned);
    if gpu.is_some_and(|gpu| gpu >= found) {
        return Err(Error::new(format!(
            "rank {rank} is number {local} on its machine, which has {found} CUDA devices"
        ))
        .help("start as many processes on a machine as it has GPUs"));
    }
    Ok(Crew { rank, size, place: Some(local), gpu, threads: threads(launch.local_size), ..Crew::alone() })
}

/// Processes on one machine share its cores, unless OMP_NUM_THREADS says how.
fn share_processor(world: World) {
    if let Some(threads) = threads(world.local_size()) {
        tch::set_num_threads(threads as i32);
    }
}

/// Threads for one of `processes` processes on this machine, if they need limiting.
fn threads(processes: Option<usize>) -> Option<usize> {
    let processes = processes.filter(|&n| n > 1 && std::env::var_os("OMP_NUM_THREADS").is_none())?;
    Some((foil::engine::cores::given() / processes).max(1))
}
