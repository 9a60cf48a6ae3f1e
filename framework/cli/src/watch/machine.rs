//! How busy the machine is: its cores and memory, and its GPUs if `nvidia-smi` reports any.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use sysinfo::System;

/// Measures the machine's load.
#[derive(Debug)]
pub struct Machine {
    system: System,
    gpus: Arc<Mutex<Vec<Gpu>>>,
}

/// The machine's load.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// Busy share of all cores together, in percent.
    pub cpu: f32,
    /// Cores.
    pub cores: usize,
    /// Memory in use, in bytes.
    pub memory: u64,
    /// Total memory, in bytes.
    pub memory_total: u64,
    /// GPUs.
    pub gpus: Vec<Gpu>,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Share of the time in which it worked, in percent.
    pub busy: f32,
    /// Memory in use, in bytes.
    pub memory: u64,
    /// Total memory, in bytes.
    pub memory_total: u64,
}

/// How often `nvidia-smi`, which is slow, is run.
const ASK: Duration = Duration::from_secs(2);

impl Machine {
    /// Starts measuring. `nvidia-smi` runs in a separate thread, so that it delays nothing.
    pub fn new() -> Self {
        let gpus = Arc::new(Mutex::new(Vec::new()));
        let found = Arc::downgrade(&gpus);
        std::thread::spawn(move || {
            while let (Some(found), Some(gpus)) = (found.upgrade(), ask()) {
                *found.lock().unwrap_or_else(PoisonError::into_inner) = gpus;
                drop(found);
                std::thread::sleep(ASK);
            }
        });
        Self { system: System::new(), gpus }
    }

    /// The load since the last call.
    pub fn load(&mut self) -> Load {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        Load {
            cpu: self.system.global_cpu_usage(),
            cores: self.system.cpus().len(),
            memory: self.system.used_memory(),
            memory_total: self.system.total_memory(),
            gpus: self.gpus.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// The GPUs; none where the program is not there or does not answer.
fn ask() -> Option<Vec<Gpu>> {
    let query = "--query-gpu=name,utilization.gpu,memory.used,memory.total";
    let output =
        Command::new("nvidia-smi").args([query, "--format=csv,noheader,nounits"]).stdin(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().filter_map(gpu).collect())
}

/// `NVIDIA H100 80GB HBM3, 97, 12345, 81559`; memory in MiB.
fn gpu(line: &str) -> Option<Gpu> {
    let mut fields = line.rsplitn(4, ',').map(str::trim);
    let mebibytes = |text: Option<&str>| text?.parse::<u64>().ok().map(|n| n << 20);
    let (memory_total, memory) = (mebibytes(fields.next())?, mebibytes(fields.next())?);
    let busy = fields.next()?.parse().unwrap_or(0.0); // `[N/A]` on some
    Some(Gpu { name: fields.next()?.to_string(), busy, memory, memory_total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_nvidia_smi() {
        let read = gpu("NVIDIA H100 80GB HBM3, 97, 12345, 81559").unwrap();
        assert_eq!((read.name.as_str(), read.busy, read.memory >> 20), ("NVIDIA H100 80GB HBM3", 97.0, 12345));
        assert_eq!(gpu("NVIDIA H100, MIG, [N/A], 5, 10").unwrap().name, "NVIDIA H100, MIG");
        assert_eq!([gpu(""), gpu("No devices were found")], [None, None]);
    }

    #[test]
    fn the_machine_has_memory() {
        let load = Machine::new().load();
        assert!(load.memory_total > load.memory && load.memory > 0, "{load:?}");
    }
}
