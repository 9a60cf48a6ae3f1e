//! Compiles the C++ shim against the libtorch that torch-sys links. A crate with C++ of its own
//! depends on this one, and finds the headers of both as `DEP_FOIL_SHIM_INCLUDE`, folders with a
//! `:` between them.

use std::env;
use std::path::PathBuf;

/// Files that are compiled.
const FILES: [&str; 5] = ["torch.cpp", "c10d.cpp", "profiler.cpp", "node.cpp", "sync_batch_norm.cpp"];

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=.");
    let Some(torch) = env::var_os("LIBTORCH").map(PathBuf::from) else {
        // torch-sys stops with the same problem and a longer explanation.
        println!("cargo:warning=LIBTORCH is not set; `cargo xtask setup` fetches libtorch");
        std::process::exit(1);
    };
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let headers = [own, torch.join("include/torch/csrc/api/include"), torch.join("include")];
    println!("cargo:include={}", headers.each_ref().map(|folder| folder.display().to_string()).join(":"));
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .opt_level(1)
        .includes(headers)
        .files(FILES)
        .compile("foil_shim");
}
