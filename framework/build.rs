//! Records how the framework is built: what a plugin library must have in common with the program
//! that loads it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The crates whose types cross between a program and a library.
const SOURCES: [&str; 5] = ["src", "torch/src", "config/src", "macros/src", "shim"];

fn main() {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().map(|out| out.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&version).trim().replace("rustc ", "");
    println!("cargo:rustc-env=FOIL_RUSTC={version}");
    println!("cargo:rustc-env=FOIL_TARGET={}", env::var("TARGET").unwrap_or_default());

    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    // Packed for a registry, the other crates are not beside this one; their versions are fixed.
    for folder in SOURCES.iter().filter(|folder| root.join(folder).exists()) {
        println!("cargo:rerun-if-changed={folder}");
        let mut files = Vec::new();
        collect(&root.join(folder), &mut files);
        files.sort();
        for file in files {
            hash.add(file.strip_prefix(&root).unwrap_or(&file).display().to_string().as_bytes());
            hash.add(&fs::read(&file).unwrap_or_default());
        }
    }
    println!("cargo:rustc-env=FOIL_SOURCE={:016x}", hash.0);
    println!("cargo:rerun-if-changed=build.rs");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| ["rs", "cpp", "h"].iter().any(|known| end == *known)) {
            files.push(path);
        }
    }
}

/// FNV-1a: the same number on every machine and with every compiler.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    }
}
