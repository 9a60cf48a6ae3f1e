//! Commands that run in several processes: joining, and ending together.

use super::Exit;
use crate::distributed::World;
use crate::pipeline::{Loaded, load, load_text};
use crate::train::Folder;
use crate::{AtPath, Error, Result};
use std::process::ExitCode;

/// Runs `command` as one rank of the world that the environment speaks of. When it fails, all ranks end, and one of them tells why.
pub(super) fn together(command: impl FnOnce(World) -> Exit) -> Exit {
    let world = World::from_environment()?;
    share_processor(world);
    let error = match command(world).and_then(|code| world.finish().map(|()| code)) {
        Ok(code) => return Ok(code),
        Err(error) => world.explain(error),
    };
    if world.is_silent() {
        eprintln!("{} ends with the run", world.name_of(world.rank()));
        return Ok(ExitCode::FAILURE);
    }
    Err(error)
}

/// Refuses to run in several processes.
pub(super) fn one_process(command: &str) -> Result<()> {
    match crate::distributed::Launch::detect()? {
        Some(launch) if launch.size > 1 => {
            Err(Error::new(format!("`foil {command}` runs in one process, not in {}", launch.size))
                .help("`foil train` and `foil eval` run in several"))
        }
        _ => Ok(()),
    }
}

/// Processes on one machine share its cores, unless OMP_NUM_THREADS says how.
fn share_processor(world: World) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if let Some(processes) = world.local_size().filter(|&n| n > 1 && std::env::var_os("OMP_NUM_THREADS").is_none()) {
        tch::set_num_threads((cores / processes).max(1) as i32);
    }
}

/// The pipeline of a run's folder, which only the first rank need see.
pub(super) fn load_run(folder: &Folder, overrides: &[String], world: World) -> Result<Loaded> {
    let path = folder.resolved();
    if !world.is_joined() {
        return load(&path, overrides);
    }
    let text = if world.is_first() { std::fs::read_to_string(&path).at("reading", &path)? } else { String::new() };
    load_text(&path, &world.first_says(&text)?, overrides)
}
