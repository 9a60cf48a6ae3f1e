//! Compiles kernels.cu with the C++ compiler, and a table of its kernels by name; and what stands
//! in for Hopper's convolutions.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=..");
    let source = fs::read_to_string("../kernels.cu").unwrap_or_default();
    let names = source.split("__global__ void ").skip(1).filter_map(|rest| rest.split('(').next());
    let table: String = names.map(|name| format!("entry<{name}>(\"{name}\"),\n")).collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    if let Err(error) = fs::write(out.join("table.inc"), table) {
        println!("cargo:warning={error}");
        std::process::exit(1);
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .opt_level(3)
        // What is fused is fused by name, as far as the tests' tolerances go.
        .flag("-ffp-contract=off")
        .include(out)
        .file("host.cpp")
        .file("convolutions.cpp")
        .compile("foil_host_kernels");
}
