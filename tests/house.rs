//! The house is as `docs/README.md` draws it: which crate uses which. Its modules are in one style.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The crates of the workspace, each with those of its dependencies that are foil's too. What a
/// crate uses only in its tests does not count.
fn arrows() -> Arrows {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.to_path_buf(), root.join("framework"), root.join("framework/cuda/host")];
    for parent in ["framework", "plugins"] {
        folders.extend(fs::read_dir(root.join(parent)).unwrap().map(|entry| entry.unwrap().path()));
    }
    let manifests = folders.iter().map(|folder| folder.join("Cargo.toml")).filter(|manifest| manifest.is_file());
    manifests.map(|manifest| arrow(&manifest)).collect()
}

fn arrow(manifest: &PathBuf) -> (String, BTreeSet<String>) {
    let text = fs::read_to_string(manifest).unwrap();
    let (mut section, mut name, mut uses) = ("", String::new(), BTreeSet::new());
    for line in text.lines() {
        match (line.starts_with('['), section) {
            (true, _) => section = line.trim(),
            (false, "[package]") => {
                if let Some(value) = line.strip_prefix("name = ") {
                    name = value.trim_matches('"').to_string();
                }
            }
            (false, "[dependencies]") if line.starts_with("foil") => {
                uses.insert(line.split(['.', ' ']).next().unwrap().to_string());
            }
            _ => {}
        }
    }
    // The library `foil` is in the package `foil-train`, because the name is taken on crates.io.
    (if name == "foil-train" { "foil".into() } else { name }, uses)
}

/// The block of `docs/README.md` in which `a -> b, c` says that crate `a` uses `b` and `c`;
/// `plugins` are all crates in `plugins/`.
fn drawn() -> Vec<(String, BTreeSet<String>)> {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/README.md")).unwrap();
    let lines = map.lines().filter_map(|line| line.split_once("->"));
    let words = |text: &str| text.split(',').map(|word| word.trim().to_string()).collect();
    lines.map(|(from, to)| (from.trim().to_string(), words(to))).collect()
}

#[test]
fn the_drawing_is_the_house() {
    let (arrows, drawn) = (arrows(), drawn());
    let plugins: BTreeSet<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins"))
        .unwrap()
        .map(|entry| arrow(&entry.unwrap().path().join("Cargo.toml")).0)
        .collect();
    assert!(drawn.len() >= 3, "docs/README.md has no drawing: {drawn:?}");
    for (from, to) in drawn.iter().filter(|(from, _)| from != "plugins") {
        let found: BTreeSet<String> = arrows[from]
            .iter()
            .map(|used| if plugins.contains(used) { "plugins".to_string() } else { used.clone() })
            .collect();
        assert_eq!(&found, to, "{from}");
    }
    let (_, allowed) = drawn.iter().find(|(from, _)| from == "plugins").expect("the drawing has plugins");
    for plugin in &plugins {
        let outside: Vec<&String> =
            arrows[plugin].iter().filter(|used| !plugins.contains(*used) && !allowed.contains(*used)).collect();
        assert!(outside.is_empty(), "{plugin} uses {outside:?}");
    }
    let names: BTreeSet<&String> = drawn.iter().map(|(from, _)| from).collect();
    let missing: Vec<&String> = arrows
        .iter()
        .filter(|(name, uses)| !uses.is_empty() && !plugins.contains(*name) && !names.contains(name))
        .map(|(name, _)| name)
        .collect();
    assert!(missing.is_empty(), "not drawn: {missing:?}");
}

/// Files named `mod.rs` in this folder and below.
fn mod_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = |path: PathBuf| match path.is_dir() {
        true if path.ends_with("target") => vec![],
        true => mod_files(&path),
        false if path.ends_with("mod.rs") => vec![path],
        false => vec![],
    };
    entries.flat_map(found).collect()
}

/// A module with a folder is `name.rs` beside `name/`, so that editors and errors show its name.
/// In `tests/`, where Cargo takes every file for a program, what is shared is in `name/mod.rs`.
#[test]
fn modules_are_in_files_of_their_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["framework", "plugins", "tests/fuzz"] {
        assert_eq!(mod_files(&root.join(folder)), Vec::<PathBuf>::new());
    }
}
