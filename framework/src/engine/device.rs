//! The device of a rank.

use crate::distributed::World;
use crate::{Error, Result};
use foil_torch::device::{choose, devices, entered, is_device};
use tch::Device;

/// The device of one rank of `world`: each takes the GPU with its number on its machine.
///
/// # Errors
/// As [`choose`]; when there are more ranks on this machine than GPUs; when `name` is a specific
/// GPU.
pub fn choose_for(name: &str, world: World) -> Result<Device> {
    if world.size() == 1 || !is_device(name) || name == "cpu" {
        return choose(name);
    }
    if name.starts_with("cuda:") {
        return Err(Error::new(format!("{} ranks cannot share `{name}`", world.size()))
            .help("write `device: cuda`: each rank takes a GPU of its own"));
    }
    let (found, local) = (devices().cuda, world.local_rank());
    match (name, found) {
        ("auto", 0) => Ok(Device::Cpu),
        _ if local < found => Ok(entered(Device::Cuda(local))),
        _ => Err(Error::new(format!(
            "rank {} is number {local} on its machine, which has {found} CUDA devices",
            world.rank()
        ))
        .help("start as many processes on a machine as it has GPUs, or choose `device: cpu`")),
    }
}
