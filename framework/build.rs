//! Compiles the C++ shim against the libtorch that torch-sys links.

use std::path::PathBuf;

/// Files of `shim/` that are compiled.
const SOURCES: [&str; 3] = ["torch.cpp", "c10d.cpp", "sync_batch_norm.cpp"];

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=shim");
    let Some(torch) = std::env::var_os("LIBTORCH").map(PathBuf::from) else {
        // torch-sys stops with the same problem and a longer explanation.
        println!("cargo:warning=LIBTORCH is not set; `cargo xtask setup` fetches libtorch");
        std::process::exit(1);
    };
    let include = torch.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .opt_level(1)
        .include("shim")
        .include(include.join("torch/csrc/api/include"))
        .include(include)
        .files(SOURCES.map(|file| format!("shim/{file}")))
        .compile("foil_shim");
}
