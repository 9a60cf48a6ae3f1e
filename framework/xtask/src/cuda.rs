//! `cargo xtask cuda`: compiles CUDA's half of the shim, `libfoil_cuda.so`, beside the program.
//!
//! It needs a C++ compiler but neither nvcc nor a GPU: the headers and NVRTC, which makes machine
//! code of the kernels, come from pinned wheels. For devices later than Hopper there is PTX, of
//! which their driver makes machine code; not of the convolutions, whose instructions are Hopper's
//! own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::failure::{Failure, OrFail, Result};
use crate::libtorch::fetch::fetch;
use crate::libtorch::installed::Installed;
use crate::libtorch::pins::Set;
use crate::setup::{self, Surroundings};
use crate::workspace::Workspace;

/// bf16 conversions need it, and all of 8.x can run it; on older devices the program uses
/// libtorch's own kernels.
const AMPERE: &str = "--gpu-architecture=sm_80";
/// With kernels that overlap.
const HOPPER: &str = "--gpu-architecture=sm_90";
/// Of the convolutions, which no other device can run.
const HOPPER_ALONE: &str = "--gpu-architecture=sm_90a";

/// `cargo xtask cuda`.
pub fn command(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    if let Some(unknown) = arguments.first() {
        return Err(Failure::new(format!("`cuda` does not know `{}`", unknown.display()), "it takes no arguments"));
    }
    let libtorch = setup::ensure(workspace)?;
    println!("{}", build(workspace, &libtorch)?.display());
    Ok(())
}

/// The library, compiled if it is missing or older than its sources.
pub fn build(workspace: &Workspace, libtorch: &Installed) -> Result<PathBuf> {
    let library = workspace.foil_path().with_file_name("libfoil_cuda.so");
    let sources = workspace.root.join("framework/cuda");
    let guard = workspace.root.join("framework/shim/guard.h");
    let made_of = [
        "foil_cuda.cpp",
        "nccl.cpp",
        "conv.cpp",
        "cluster_sum.h",
        "conv_sm90.cu",
        "conv_shape.h",
        "conv_down_sm90.cu",
        "conv_down_shape.h",
        "epilogue.h",
        "hopper.h",
        "kernels.cu",
        "eight.h",
        "batch_norm.h",
        "ends.h",
        "first_conv.h",
        "images.h",
        "in_turn.h",
        "launch.h",
        "noise.h",
        "pieces.h",
        "pointwise.h",
        "slopes.h",
        "terms.h",
        "transpose.h",
        "winograd.h",
        "nvrtc.cpp",
    ]
    .map(|name| sources.join(name));
    // This program too, which contains the build rules.
    let maker = std::env::current_exe().ok();
    let newest = made_of.iter().chain([&guard]).chain(&maker).filter_map(|path| changed(path)).max();
    if changed(&library).is_some_and(|made| newest.is_some_and(|newest| made > newest)) {
        return Ok(library);
    }

    let around = Surroundings::look(workspace);
    let toolkit = toolkit(workspace, libtorch, &around)?;
    let scratch = workspace.foil_path().with_file_name("cuda");
    fs::create_dir_all(&scratch).or_fail(|| format!("make the folder {}", scratch.display()))?;
    let include = |folder: &Path| OsString::from(format!("-I{}", folder.join("include").display()));
    let nvrtc = toolkit.join("lib/libnvrtc.so.13");

    let compiler = scratch.join("nvrtc");
    let mut make = cxx();
    make.arg(sources.join("nvrtc.cpp")).arg(include(&toolkit)).arg(&nvrtc).arg("-o").arg(&compiler);
    run(make, "the kernel compiler")?;

    // Each as it is, text as a C string.
    let mut text = String::from(".section .rodata\n");
    for (source, architecture, all) in [
        ("kernels.cu", AMPERE, &["kernels_sm80.cubin"][..]),
        ("kernels.cu", HOPPER, &["kernels_sm90.cubin", "kernels_sm90.ptx"]),
        ("conv_sm90.cu", HOPPER_ALONE, &["conv_sm90.cubin"]),
        ("conv_down_sm90.cu", HOPPER_ALONE, &["conv_down_sm90.cubin"]),
    ] {
        let mut make = Command::new(&compiler);
        make.arg(sources.join(source)).args(all.iter().map(|name| scratch.join(name)));
        make.args([architecture, "-default-device", "-I"]).arg(&sources);
        run(with_path(make, &toolkit.join("lib")), "the kernels")?;
        for made in all {
            let (name, file) = (format!("foil_{}", made.replace('.', "_")), scratch.join(made));
            text += &format!(".balign 64\n.global {name}\n{name}:\n.incbin \"{}\"\n.byte 0\n", file.display());
        }
    }
    text += ".section .note.GNU-stack,\"\"\n";
    let data = scratch.join("kernels.s");
    fs::write(&data, text).or_fail(|| format!("write {}", data.display()))?;
    let new = scratch.join("libfoil_cuda.so");
    let mut make = cxx();
    make.args(["-shared", "-fPIC", "-O2"]).arg(&data);
    make.args(["foil_cuda.cpp", "conv.cpp", "nccl.cpp"].map(|name| sources.join(name)));
    make.arg(include(&libtorch.path)).arg(include(&toolkit)).arg("-o").arg(&new);
    run(make, "CUDA's half of the shim")?;
    fs::rename(&new, &library).or_fail(|| format!("write {}", library.display()))?;
    Ok(library)
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|data| data.modified()).ok()
}

/// A folder with `include/` and `lib/`: beside a libtorch that has CUDA, else fetched.
fn toolkit(workspace: &Workspace, libtorch: &Installed, around: &Surroundings) -> Result<PathBuf> {
    let real = libtorch.path.canonicalize().unwrap_or_else(|_| libtorch.path.clone());
    let beside = real.with_file_name("nvidia").join("cu13");
    if ["include/cuda_runtime.h", "include/crt", "lib/libnvrtc.so.13"].iter().all(|part| beside.join(part).exists()) {
        return Ok(beside);
    }
    let store = around.cache.clone().unwrap_or_else(|| workspace.root.join(".libtorch"));
    Ok(fetch(Set::Compiler, &store, &around.python, false)?.join("nvidia/cu13"))
}

fn cxx() -> Command {
    let mut command = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
    command.args(["-std=c++17", "-O1"]);
    command
}

fn with_path(mut command: Command, folder: &Path) -> Command {
    command.env("LD_LIBRARY_PATH", folder);
    command
}

/// Runs it; its output is part of the error.
fn run(mut command: Command, what: &str) -> Result<()> {
    let output = command.output().or_fail(|| format!("start {}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let start: String = said.lines().take(20).collect::<Vec<_>>().join("\n");
    Err(Failure::new(format!("{what} could not be compiled ({})", output.status), start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_fails_is_quoted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'no such header' >&2; exit 3"]);
        let failure = run(command, "the kernels").unwrap_err().to_string();
        assert!(
            failure.contains("the kernels could not be compiled") && failure.contains("no such header"),
            "{failure}"
        );
    }
}
