//! The `Cargo.lock` of a plugin's crate: foil's, cut down to what the library needs. With the same
//! versions nothing is built twice, and `tracing` is the program's.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

const LOCK: &str = include_str!("../../../../../Cargo.lock");

/// foil's library crates that a plugin uses, with their manifests: a lock does not say which
/// dependencies are only for tests.
const CRATES: [(&str, &str); 6] = [
    ("foil-train", include_str!("../../../../Cargo.toml")),
    ("foil-config", include_str!("../../../../config/Cargo.toml")),
    ("foil-data", include_str!("../../../../data/Cargo.toml")),
    ("foil-macros", include_str!("../../../../macros/Cargo.toml")),
    ("foil-shim", include_str!("../../../../shim/Cargo.toml")),
    ("foil-torch", include_str!("../../../../torch/Cargo.toml")),
];

/// An entry of a lock.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    /// Names, with the version where there are several.
    dependencies: Vec<&'a str>,
    text: &'a str,
}

impl<'a> Package<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"'))
        };
        let dependencies = text.lines().filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","));
        Some(Self { name: value("name")?, version: value("version")?, dependencies: dependencies.collect(), text })
    }

    /// Whether a build of the library needs the dependency: not if it is only for foil's tests, or
    /// for a feature.
    fn needs(&self, dependency: &str) -> bool {
        let name = dependency.split(' ').next().unwrap_or_default();
        let Some((_, manifest)) = CRATES.iter().find(|(known, _)| *known == self.name) else { return true };
        let (mut section, mut built, mut left_out) = ("", false, false);
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            } else if line.split(['.', ' ', '=']).next() == Some(name) {
                let is_optional = line.contains("optional = true");
                built |= !is_optional && (section == "[dependencies]" || section == "[build-dependencies]");
                left_out |= is_optional || section == "[dev-dependencies]";
            }
        }
        built || !left_out
    }
}

static NEEDED: LazyLock<Vec<Package<'static>>> = LazyLock::new(|| {
    let all: Vec<Package> = LOCK.split("[[package]]\n").skip(1).filter_map(Package::read).collect();
    let find = |word: &str| {
        let (name, version) = word.split_once(' ').map_or((word, None), |(name, version)| (name, Some(version)));
        all.iter().position(|package| package.name == name && version.is_none_or(|version| package.version == version))
    };
    let (mut needed, mut open) = (BTreeSet::new(), vec!["foil-train"]);
    while let Some(word) = open.pop() {
        if let Some(found) = find(word)
            && needed.insert(found)
        {
            let package = &all[found];
            open.extend(package.dependencies.iter().copied().filter(|dependency| package.needs(dependency)));
        }
    }
    all.into_iter().enumerate().filter(|(n, _)| needed.contains(n)).map(|(_, package)| package).collect()
});

/// Whether a plugin's crate is built with the package.
pub(super) fn has(package: &str) -> bool {
    NEEDED.iter().any(|needed| needed.name == package)
}

/// The lock of the crate `name`. It may hold a package too many, for a feature that is not used:
/// cargo drops that when it first looks. Where foil is not `local`, cargo adds foil's own crates.
pub(super) fn of(name: &str, local: bool) -> String {
    let head = LOCK.split("[[package]]\n").next().unwrap_or_default();
    let own = format!("name = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"foil-train\",\n]\n");
    let of_foil = |package: &&Package| CRATES.iter().any(|(known, _)| *known == package.name);
    let mut entries: Vec<(&str, String)> = NEEDED
        .iter()
        .filter(|package| local || !of_foil(package))
        .map(|package| {
            let lines = package.text.lines().filter(|line| {
                let dependency = line.strip_prefix(" \"").and_then(|line| line.strip_suffix("\","));
                dependency.is_none_or(|dependency| package.needs(dependency))
            });
            (package.name, lines.map(|line| format!("{line}\n")).collect::<String>())
        })
        .collect();
    entries.extend(local.then_some((name, own)));
    entries.sort();
    let entries: Vec<String> = entries.into_iter().map(|(_, text)| text.trim_end().to_string() + "\n").collect();
    format!("{head}[[package]]\n{}", entries.join("\n[[package]]\n"))
}

/// Lets cargo drop what it does not need from the lock in `dir`, so that a first build leaves the
/// file as it is. Without cargo that happens later.
pub(super) fn settle(dir: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let _ = cargo.args(["metadata", "--offline", "--format-version", "1"]).current_dir(dir).output();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_what_the_library_needs_and_not_the_command_line() {
        let lock = of("mine", true);
        for package in ["foil-train", "foil-torch", "foil-shim", "tch", "torch-sys", "serde_yaml_ng", "tracing", "mine"]
        {
            assert!(lock.contains(&format!("name = \"{package}\"\n")), "{package}");
        }
        for package in ["foil-cli", "foil-runs", "foil-host-kernels", "clap", "ratatui", "resvg", "proptest", "mpi"] {
            assert!(!lock.contains(&format!("name = \"{package}\"\n")), "{package}");
        }
        assert!(!of("mine", false).contains("name = \"foil"));
    }
}
