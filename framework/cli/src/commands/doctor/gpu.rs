//! GPUs, and whether devices compute.

use super::Finding;
use foil::cuda::Gpu;
use foil::engine::devices;
use foil::guard;
use std::fs::read_to_string;
use std::process::Command;
use tch::{Device, Kind, Tensor};

/// The GPUs that the NVIDIA driver shows: `NVIDIA H100, 81559 MiB, driver 580.95`.
pub(super) fn gpus() -> Vec<String> {
    let asked = Command::new("nvidia-smi")
        .args(["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"])
        .output()
        .ok()
        .filter(|output| output.status.success());
    let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect()
}

pub(super) fn cuda(gpus: &[String]) -> Finding {
    let found = devices();
    if found.cuda > 0 {
        let mut finding = Finding::new("CUDA", format!("{} devices", found.cuda));
        // libtorch throws if the version is not available.
        if let Ok(runtime) = guard(|| Ok(tch::utils::version_cudart())) {
            finding.found[0] += &format!(", CUDA {}", cuda_version(runtime));
        }
        if let Ok(version) = guard(|| Ok(tch::utils::version_cudnn())) {
            finding.found[0] += &format!(", cuDNN {version}");
        }
        return match foil::cuda::usable() {
            Ok(()) => {
                finding.found[0] += ", steps are captured";
                match foil::cuda::Comm::version() {
                    Ok(version) => finding.found[0] += &format!(", ranks all-reduce over NCCL {version}"),
                    Err(error) => finding.found[0] += &format!(", ranks all-reduce on the CPU: {}", error.message()),
                }
                let known = (0..found.cuda).filter_map(|n| Some((n, foil::cuda::gpu(n).ok()?.capability)));
                finding.found.extend(known.map(|(n, capability)| serving(n, capability)));
                finding
            }
            Err(error) => finding.help(format!("steps cannot be captured, which is slower: {error}")),
        };
    }
    let opened = found.libtorch.as_ref().is_some_and(|folder| folder.join("libtorch_cuda.so").exists());
    match (&found.cuda_problem, opened, gpus.is_empty()) {
        (Some(problem), ..) => Finding::new("CUDA", format!("libtorch_cuda.so exists but cannot be opened: {problem}"))
            .help("libtorch's CUDA libraries are incomplete; `cargo xtask setup --cuda --force` fetches them"),
        (None, true, _) => Finding::new("CUDA", "libtorch supports it, but sees no device").help(
            "see `nvidia-smi`, and whether CUDA_VISIBLE_DEVICES hides the device; CUDA 13 needs driver 580 or later",
        ),
        (None, false, false) => Finding::new("CUDA", "not used: this libtorch is the CPU build")
            .help("`cargo xtask setup --cuda` fetches the CUDA build"),
        (None, false, true) => Finding::new("CUDA", "none, runs use the CPU"),
    }
}

/// Whose kernels are used on device `n` of this compute capability, times ten.
fn serving(n: usize, capability: i32) -> String {
    let what = match capability {
        90 => "foil's kernels and convolutions",
        _ if Gpu::has_fast_memory(capability) => {
            "foil's kernels and its convolutions in fp32, libtorch's in tf32 and bf16"
        }
        80.. => "foil's kernels, libtorch's convolutions",
        _ => "libtorch's kernels; bf16 is slow before 8.0",
    };
    format!("cuda:{n} has compute capability {}.{}: {what}", capability / 10, capability % 10)
}

/// `13000` is CUDA 13.0.
fn cuda_version(number: i64) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

pub(super) fn driver(gpus: &[String]) -> Finding {
    let version = read_to_string("/proc/driver/nvidia/version").ok();
    let version =
        version.as_deref().and_then(|text| text.lines().next()).map(|line| line.replace("NVRM version: ", ""));
    match (version, gpus.is_empty()) {
        (version, false) => {
            Finding { found: version.into_iter().chain(gpus.iter().cloned()).collect(), ..Finding::new("driver", "") }
        }
        (Some(version), true) => Finding::new("driver", version).help("nvidia-smi shows no device; run it to see why"),
        (None, true) => Finding::new("driver", "no NVIDIA driver"),
    }
}

/// Runs a convolution on every device, which proves more than a list of libraries.
pub(super) fn computing() -> Finding {
    let all = std::iter::once(Device::Cpu).chain((0..devices().cuda).map(Device::Cuda));
    let mut finding = Finding { found: Vec::new(), ..Finding::new("computing", "") };
    for device in all {
        let name = match device {
            Device::Cuda(n) => format!("cuda:{n}"),
            _ => "cpu".to_string(),
        };
        match works(device) {
            Ok(()) => finding.found.push(format!("{name} works")),
            Err(reason) => {
                finding.found.push(format!("{name} fails: {reason}"));
                finding.help = Some("choose another device with `device:` in the pipeline".into());
            }
        }
    }
    finding
}

/// Whether a small convolution on `device` gives the right number.
pub(super) fn works(device: Device) -> Result<(), String> {
    let compute = || {
        let ones = |size: &[i64]| Tensor::f_ones(size, (Kind::Float, device));
        let image = ones(&[1, 3, 8, 8])?;
        let sums = image.f_conv2d(&ones(&[4, 3, 3, 3])?, None::<Tensor>, 1, 0, 1, 1)?;
        f64::try_from(sums.f_sum(Kind::Float)?)
    };
    let sum = compute().map_err(|error: tch::TchError| foil::Error::from(error).message().to_string())?;
    // 4 channels of 6 x 6 places, each the sum of 27 ones.
    if sum == 4.0 * 36.0 * 27.0 { Ok(()) } else { Err(format!("a sum of {} came out as {sum}", 4 * 36 * 27)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_computes() {
        assert_eq!(works(Device::Cpu), Ok(()));
    }

    #[test]
    fn what_serves_on_which_device() {
        assert!(serving(0, 75).ends_with("7.5: libtorch's kernels; bf16 is slow before 8.0"));
        assert!(
            serving(1, 80).ends_with("8.0: foil's kernels and its convolutions in fp32, libtorch's in tf32 and bf16")
        );
        assert!(serving(1, 90).ends_with("kernels and convolutions"));
        assert_eq!(serving(1, 120), "cuda:1 has compute capability 12.0: foil's kernels, libtorch's convolutions");
    }

    #[test]
    fn cudas_versions() {
        assert_eq!(cuda_version(13_000), "13.0");
        assert_eq!(cuda_version(12_080), "12.8");
    }
}
