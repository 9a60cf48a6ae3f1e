//! Which devices there are, and opening CUDA's half of libtorch where it exists.
//!
//! The program is linked against libtorch's CPU library only; on a machine whose libtorch has CUDA,
//! opening `libtorch_cuda.so` beside it registers the GPU. So one binary serves both.

use crate::{Error, Result};
use std::path::PathBuf;
use std::sync::OnceLock;
use tch::{Cuda, Device};

/// The devices found at start.
#[derive(Debug, Clone)]
pub struct Devices {
    /// The folder libtorch was loaded from, if known.
    pub libtorch: Option<PathBuf>,
    /// CUDA devices that can be used.
    pub cuda: usize,
    /// Why CUDA cannot be used, if it exists but could not be opened.
    pub cuda_problem: Option<String>,
}

/// Opens CUDA's libtorch if there is one, once, and returns what was found.
pub fn devices() -> &'static Devices {
    static DEVICES: OnceLock<Devices> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let libtorch = libtorch_folder();
        let mut cuda_problem = None;
        if let Some(library) =
            libtorch.as_ref().map(|folder| folder.join("libtorch_cuda.so")).filter(|path| path.exists())
        {
            cuda_problem = open_forever(&library).err();
        }
        let cuda = if Cuda::is_available() { usize::try_from(Cuda::device_count()).unwrap_or(0) } else { 0 };
        Devices { libtorch, cuda, cuda_problem }
    })
}

/// Whether a device on some machine has this name: `auto`, `cpu`, `cuda` or `cuda:N`.
pub fn is_device(name: &str) -> bool {
    let number = name.strip_prefix("cuda:").and_then(|n| n.parse::<usize>().ok());
    number.is_some() || ["auto", "cpu", "cuda"].contains(&name)
}

/// The environment variable that overrides a run's device, so that one pipeline can run on any of
/// several devices.
pub const DEVICE: &str = "FOIL_DEVICE";

/// `auto`, `cpu`, `cuda` or `cuda:N` as a device that exists, which this thread then uses;
/// [`DEVICE`] takes precedence over `name`.
///
/// # Errors
/// When the name is none of these, or the device does not exist.
pub fn choose(name: &str) -> Result<Device> {
    match std::env::var(DEVICE) {
        Ok(instead) if !instead.is_empty() => named(&instead).map_err(|error| error.context(DEVICE)),
        _ => named(name),
    }
    .map(entered)
}

/// Makes `device` this thread's current one and returns it. libtorch's operators follow tensors to
/// their device, but foil's kernels, events and waits use the thread's current device, which is the
/// first GPU by default.
pub fn entered(device: Device) -> Device {
    if let Device::Cuda(n) = device {
        // Without the library there are no kernels either, and capturing reports why.
        let _ = crate::cuda::own_stream(n);
    }
    device
}

/// The name of a device in records and heartbeats: `cpu`, `cuda(0)`.
pub fn shown(device: Device) -> String {
    format!("{device:?}").to_lowercase()
}

/// The device that is called `name`.
///
/// # Errors
/// When the name is not valid, or the device does not exist.
pub fn named(name: &str) -> Result<Device> {
    if !is_device(name) {
        return Err(Error::new(format!("`{name}` is not a device")).help("write auto, cpu, cuda or cuda:0"));
    }
    let found = devices().cuda;
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" if found == 0 => Ok(Device::Cpu),
        _ => match name.strip_prefix("cuda:").and_then(|n| n.parse().ok()).unwrap_or(0) {
            n if n < found => Ok(Device::Cuda(n)),
            _ => Err(Error::new(format!("`{name}` does not exist: {found} CUDA devices were found"))
                .help("`foil doctor` says why; `device: auto` takes what is available")),
        },
    }
}

/// Where the dynamic linker found libtorch, from the process's own map of libraries.
fn libtorch_folder() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    Some(PathBuf::from(&line[line.find('/')?..]).parent()?.to_path_buf())
}

#[allow(unsafe_code)]
fn open_forever(library: &std::path::Path) -> Result<(), String> {
    // SAFETY: Opening runs the library's initialisers. The file lies beside the libtorch this
    // process already runs and comes from the same package; it is never closed, since libtorch
    // keeps pointers into it. Its symbols are made known to what is opened later, which is CUDA's
    // half of the shim.
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: Opening runs the library's initialisers. The file lies beside the libtorch this
    // process already runs and comes from the same package; it is never closed, since libtorch
    // keeps pointers into it. Its symbols are made known to what is opened later, which is CUDA's
    // half of the shim.
    let opened = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_GLOBAL) };
    match opened {
        Ok(opened) => {
            std::mem::forget(opened);
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        assert_eq!(choose("cpu").unwrap(), Device::Cpu);
        assert!(choose("auto").is_ok());
        assert!(choose("gpu").unwrap_err().to_string().contains("is not a device"));
        assert!(choose("cuda:99").unwrap_err().to_string().contains("foil doctor"));
        assert!(devices().libtorch.is_some());
    }
}
