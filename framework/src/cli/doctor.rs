//! `foil doctor`: what this machine has, and what to do about what it has not.

use super::{Exit, data, text};
use crate::distributed::{Launch, Transport};
use crate::engine::{devices, guard};
use crate::registry::{KINDS, entries};
use serde::Serialize;
use std::fs::read_to_string;
use std::path::Path;
use std::process::{Command, ExitCode};
use tch::{Device, Kind, Tensor};

/// Say what this machine has (libtorch, CUDA, memory, plugins, data), and what to do about what is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  foil doctor
  foil doctor --json

It fails only when no device can compute.")]
pub(super) struct Args {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    /// What was found, a line each.
    found: Vec<String>,
    /// What to do, if something is missing or broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl Finding {
    fn new(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, found: vec![found.into()], help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

pub(super) fn run(args: &Args) -> Exit {
    let gpus = gpus();
    let works = works(Device::Cpu).is_ok() || (0..devices().cuda).any(|n| works(Device::Cuda(n)).is_ok());
    let findings = [
        foil(),
        libtorch(),
        processor(),
        memory(),
        cuda(&gpus),
        driver(&gpus),
        computing(),
        ranks(),
        plugins(),
        data_sets(),
    ];
    if args.json {
        println!("{}", super::json(&serde_json::json!({ "works": works, "findings": findings }))?);
    } else {
        findings.iter().for_each(|finding| print!("{}", page(finding)));
    }
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn page(finding: &Finding) -> String {
    const INDENT: usize = 11;
    let lines: String = finding.found.iter().map(|line| text::wrap(line, text::width(), INDENT)).collect();
    // The name stands in the first line's indent.
    let name = format!("{:<width$}", finding.name, width = INDENT);
    let mut page = text::bold(&name) + lines.trim_start();
    if let Some(help) = &finding.help {
        page += &text::wrap(&format!("help: {help}"), text::width(), INDENT);
    }
    page
}

fn foil() -> Finding {
    let program = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    Finding::new("foil", format!("{} {program}", crate::VERSION))
}

fn libtorch() -> Finding {
    let Some(folder) = &devices().libtorch else {
        return Finding::new(
            "libtorch",
            format!("made for {}; where it was loaded from cannot be told", crate::LIBTORCH),
        );
    };
    let version = version_of(folder);
    let shown = version.as_deref().unwrap_or("of unknown version");
    let finding = Finding::new("libtorch", format!("{shown} {}", folder.display()));
    match version.is_some_and(|version| version.split('+').next() != Some(crate::LIBTORCH)) {
        true => finding.help(format!("foil is made for {}: `cargo xtask setup --force` fetches it", crate::LIBTORCH)),
        false => finding,
    }
}

/// The version as the files beside the libraries tell it: `build-version` in libtorch's own archive, `version.py` in the
/// wheel, a header in both.
pub(super) fn version_of(folder: &Path) -> Option<String> {
    let beside = folder.parent()?;
    if let Ok(version) = read_to_string(beside.join("build-version")) {
        return Some(version.trim().to_string());
    }
    if let Ok(python) = read_to_string(beside.join("version.py")) {
        let line = python.lines().find_map(|line| line.strip_prefix("__version__ = "));
        return line.map(|line| line.trim_matches(['\'', '"']).to_string());
    }
    let header = read_to_string(beside.join("include/torch/headeronly/version.h")).ok()?;
    let part = |name: &str| header.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_string()));
    let parts = ["MAJOR", "MINOR", "PATCH"].map(|name| part(&format!("#define TORCH_VERSION_{name} ")));
    let parts: Option<Vec<String>> = parts.into_iter().collect();
    Some(parts?.join("."))
}

fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = tch::get_num_threads();
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&info, "model name").unwrap_or(std::env::consts::ARCH);
    let finding = Finding::new(
        "processor",
        format!("{model}, {}, {cores} cores; libtorch computes with {threads} threads", instructions()),
    );
    match std::env::var("OMP_NUM_THREADS") {
        Ok(set) if (threads as usize) < cores => {
            finding.help(format!("OMP_NUM_THREADS={set} leaves cores idle; without it every core computes"))
        }
        _ => finding,
    }
}

/// The vector instructions libtorch picks, by its own rule.
fn instructions() -> String {
    if let Ok(wanted) = std::env::var("ATEN_CPU_CAPABILITY") {
        return format!("{wanted} (from ATEN_CPU_CAPABILITY)");
    }
    #[cfg(target_arch = "x86_64")]
    {
        let (avx2, fma) = (is_x86_feature_detected!("avx2"), is_x86_feature_detected!("fma"));
        let wide = is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq");
        return match (avx2 && fma, wide) {
            (true, true) => "AVX512".into(),
            (true, false) => "AVX2".into(),
            _ => "no AVX2 (slow)".into(),
        };
    }
    #[allow(unreachable_code)]
    std::env::consts::ARCH.into()
}

fn memory() -> Finding {
    let info = read_to_string("/proc/meminfo").unwrap_or_default();
    let gigabytes = |name: &str| {
        let kilobytes: f64 = field(&info, name)?.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes * 1024.0 / 1e9)
    };
    match (gigabytes("MemTotal"), gigabytes("MemAvailable")) {
        (Some(total), Some(available)) => {
            let finding = Finding::new("memory", format!("{total:.1} GB, {available:.1} GB available"));
            match available < 2.0 {
                true => finding.help("a run needs about 2 GB: close something, or lower train.batch_size"),
                false => finding,
            }
        }
        _ => Finding::new("memory", "cannot be told on this system"),
    }
}

/// The value of `NAME : VALUE` in a file of /proc.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

/// The GPUs that the NVIDIA driver shows: `NVIDIA H100, 81559 MiB, driver 580.95`.
fn gpus() -> Vec<String> {
    let asked = Command::new("nvidia-smi")
        .args(["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"])
        .output()
        .ok()
        .filter(|output| output.status.success());
    let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect()
}

fn cuda(gpus: &[String]) -> Finding {
    let found = devices();
    if found.cuda > 0 {
        let mut finding = Finding::new("CUDA", format!("{} devices", found.cuda));
        // libtorch throws when its CUDA half cannot say.
        if let Ok(runtime) = guard(|| Ok(tch::utils::version_cudart())) {
            finding.found[0] += &format!(", CUDA {}", cuda_version(runtime));
        }
        if let Ok(version) = guard(|| Ok(tch::utils::version_cudnn())) {
            finding.found[0] += &format!(", cuDNN {version}");
        }
        return match crate::engine::cuda::usable() {
            Ok(()) => {
                finding.found[0] += ", steps are captured";
                match crate::engine::cuda::Comm::version() {
                    Ok(version) => finding.found[0] += &format!(", ranks add up by NCCL {version}"),
                    Err(error) => finding.found[0] += &format!(", ranks add up through the CPU: {}", error.message()),
                }
                finding
            }
            Err(error) => finding.help(format!("steps cannot be captured, which is slower: {error}")),
        };
    }
    let opened = found.libtorch.as_ref().is_some_and(|folder| folder.join("libtorch_cuda.so").exists());
    match (&found.cuda_problem, opened, gpus.is_empty()) {
        (Some(problem), ..) => Finding::new("CUDA", format!("libtorch_cuda.so is there but does not open: {problem}"))
            .help("libtorch's CUDA libraries are not complete: `cargo xtask setup --cuda --force` fetches them"),
        (None, true, _) => Finding::new("CUDA", "libtorch has it, but sees no device").help(
            "see `nvidia-smi`, and whether CUDA_VISIBLE_DEVICES hides the device; CUDA 13 needs driver 580 or later",
        ),
        (None, false, false) => Finding::new("CUDA", "not used: this libtorch is the one for CPUs")
            .help("`cargo xtask setup --cuda` fetches the one for GPUs"),
        (None, false, true) => Finding::new("CUDA", "none, runs use the CPU"),
    }
}

/// `13000` is CUDA 13.0.
fn cuda_version(number: i64) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

fn driver(gpus: &[String]) -> Finding {
    let version = read_to_string("/proc/driver/nvidia/version").ok();
    let version =
        version.as_deref().and_then(|text| text.lines().next()).map(|line| line.replace("NVRM version: ", ""));
    match (version, gpus.is_empty()) {
        (version, false) => {
            Finding { found: version.into_iter().chain(gpus.iter().cloned()).collect(), ..Finding::new("driver", "") }
        }
        (Some(version), true) => {
            Finding::new("driver", version).help("nvidia-smi shows no device; it may say why when you run it")
        }
        (None, true) => Finding::new("driver", "no NVIDIA driver"),
    }
}

/// A convolution on every device, which shows more than a list of libraries does.
fn computing() -> Finding {
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
fn works(device: Device) -> Result<(), String> {
    let compute = || {
        let ones = |size: &[i64]| Tensor::f_ones(size, (Kind::Float, device));
        let image = ones(&[1, 3, 8, 8])?;
        let sums = image.f_conv2d(&ones(&[4, 3, 3, 3])?, None::<Tensor>, 1, 0, 1, 1)?;
        f64::try_from(sums.f_sum(Kind::Float)?)
    };
    let sum = compute().map_err(|error: tch::TchError| crate::Error::from(error).message().to_string())?;
    // 4 channels of 6 x 6 places, each the sum of 27 ones.
    if sum == 4.0 * 36.0 * 27.0 { Ok(()) } else { Err(format!("a sum of {} came out as {sum}", 4 * 36 * 27)) }
}

/// What the launchers' variables say, as `foil train` would read them here.
fn ranks() -> Finding {
    let mut finding = match Launch::detect() {
        Ok(None) => Finding::new("ranks", "one process; torchrun, srun and mpirun start several (docs/distributed.md)"),
        Ok(Some(launch)) => Finding::new("ranks", launch.describe()),
        Err(error) => Finding::new("ranks", format!("cannot be told: {}", error.message()))
            .help(error.suggestion().unwrap_or_default()),
    };
    finding.found.push(format!("transports in this build: {}", Transport::built().join(", ")));
    finding
}

fn plugins() -> Finding {
    let count = |kind: &str| entries().iter().filter(|entry| entry.kind() == kind).count();
    let counts: Vec<String> = KINDS.iter().map(|(kind, _)| format!("{kind} {}", count(kind))).collect();
    let missing: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).filter(|kind| count(kind) == 0).collect();
    let finding = Finding::new("plugins", counts.join(", "));
    match missing.is_empty() {
        true => finding,
        false => finding.help(format!("no {} is linked in: main.rs names each plugin crate", missing.join(", no "))),
    }
}

fn data_sets() -> Finding {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for set in foil_data::catalog() {
        match data::found(set) {
            Some(place) => found.push(format!("{}: {place}", set.name)),
            None => missing.push(set.name),
        }
    }
    found.extend(missing.iter().map(|name| format!("{name}: not found")));
    let finding = Finding { found, ..Finding::new("data", "") };
    match missing.first() {
        None => finding,
        Some(name) => {
            finding.help(format!("`foil data get {name}` fetches it; `foil data list` says where was looked"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_computes() {
        assert_eq!(works(Device::Cpu), Ok(()));
    }

    #[test]
    fn fields_of_proc() {
        let info = "MemTotal:       24604872 kB\nmodel name\t: A Processor\n";
        assert_eq!(field(info, "MemTotal"), Some("24604872 kB"));
        assert_eq!(field(info, "model name"), Some("A Processor"));
        assert_eq!(field(info, "Mem"), None);
    }

    #[test]
    fn versions_are_read_where_each_form_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let version = || version_of(&folder.path().join("lib"));
        assert_eq!(version(), None);
        let numbers = "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n#define TORCH_VERSION_PATCH 0\n";
        write("include/torch/headeronly/version.h", numbers);
        assert_eq!(version().as_deref(), Some("2.11.0"));
        write("version.py", "__all__ = []\n__version__ = '2.11.0+cu130'\n");
        assert_eq!(version().as_deref(), Some("2.11.0+cu130"));
        write("build-version", "2.11.0+cpu\n");
        assert_eq!(version().as_deref(), Some("2.11.0+cpu"));
        assert_eq!(cuda_version(13_000), "13.0");
        assert_eq!(cuda_version(12_080), "12.8");
    }
}
