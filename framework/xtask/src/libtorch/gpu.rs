//! Whether this machine has an NVIDIA GPU.

use std::path::Path;

/// Any of these means that an NVIDIA driver is here: the device, the driver's library, the driver
/// inside WSL.
const SIGNS: [&str; 5] = [
    "/dev/nvidia0",
    "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/usr/lib64/libcuda.so.1",
    "/usr/lib/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
];

/// Looks only; starts nothing.
pub fn present() -> bool {
    let programs = std::env::var_os("PATH").unwrap_or_default();
    SIGNS.iter().any(|sign| Path::new(sign).exists())
        || std::env::split_paths(&programs).any(|folder| folder.join("nvidia-smi").is_file())
}
