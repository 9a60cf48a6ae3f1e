//! `foil doctor`: what this machine has, and what to do about what it has not.

mod gpu;
mod machine;

use super::{Exit, data, text};
use foil::distributed::{Launch, Transport};
use foil::engine::devices;
use foil::registry::{KINDS, plugins};
use gpu::{computing, cuda, driver, gpus, works};
use machine::{memory, processor};
use serde::Serialize;
use std::fs::read_to_string;
use std::path::Path;
use std::process::ExitCode;
use tch::Device;

/// Show what this machine has (libtorch, CUDA, memory, plugins, data), and how to fix what is
/// missing.
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

/// One thing that was checked.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    /// What was found, one line each.
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
        plugins_found(),
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
    let program = foil::program::file().map(|path| path.display().to_string()).unwrap_or_default();
    Finding::new("foil", format!("{} {program}", foil::VERSION))
}

fn libtorch() -> Finding {
    let Some(folder) = &devices().libtorch else {
        return Finding::new("libtorch", format!("made for {}; unknown where it was loaded from", foil::LIBTORCH));
    };
    let version = version_of(folder);
    let shown = version.as_deref().unwrap_or("of unknown version");
    let finding = Finding::new("libtorch", format!("{shown} {}", folder.display()));
    match version.is_some_and(|version| version.split('+').next() != Some(foil::LIBTORCH)) {
        true => finding.help(format!("foil needs {}: `cargo xtask setup --force` fetches it", foil::LIBTORCH)),
        false => finding,
    }
}

/// The version from the files beside the libraries: `build-version` in libtorch's own archive,
/// `version.py` in the wheel, a header in both.
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

/// The launchers' variables, as `foil train` would read them here.
fn ranks() -> Finding {
    let mut finding = match Launch::detect() {
        Ok(None) => Finding::new("ranks", "one process; torchrun, srun and mpirun start several (docs/distributed.md)"),
        Ok(Some(launch)) => Finding::new("ranks", launch.describe()),
        Err(error) => {
            Finding::new("ranks", format!("unknown: {}", error.message())).help(error.suggestion().unwrap_or_default())
        }
    };
    finding.found.push(format!("transports in this build: {}", Transport::built().join(", ")));
    finding
}

fn plugins_found() -> Finding {
    let count = |kind: &str| plugins().iter().filter(|plugin| plugin.kind() == kind).count();
    let counts: Vec<String> = KINDS.iter().map(|(kind, _)| format!("{kind} {}", count(kind))).collect();
    let missing: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).filter(|kind| count(kind) == 0).collect();
    let finding = Finding::new("plugins", counts.join(", "));
    match missing.is_empty() {
        true => finding,
        false => {
            finding.help(format!("no {} is linked in: main.rs must name each plugin crate", missing.join(", no ")))
        }
    }
}

fn data_sets() -> Finding {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (entry, set) in data::sets() {
        match set.locate() {
            Ok(located) => found.push(format!("{}: {}", entry.name(), located.place)),
            Err(_) => missing.push(entry.name()),
        }
    }
    found.extend(missing.iter().map(|name| format!("{name}: not found")));
    let finding = Finding { found, ..Finding::new("data", "") };
    match missing.first() {
        None => finding,
        Some(name) => {
            finding.help(format!("`foil data get {name}` fetches it; `foil data list` says where foil looked"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
