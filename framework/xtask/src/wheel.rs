//! `cargo xtask wheel`: the Python package `foil-train`, for any Python from 3.10 on.
//!
//! The module is compiled against the libtorch that everything else is, and holds nothing of it:
//! at run time it uses that of the user's torch. maturin, which packs it, comes from PyPI into a
//! virtual environment of its own under `target/`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, OrFail, Result};
use crate::libtorch::python::Python;
use crate::setup;
use crate::workspace::Workspace;

/// What packs the wheel.
const MATURIN: &str = "maturin==1.16.0";
/// What the tests of the wheel need besides it and torch.
const FOR_TESTS: [&str; 8] =
    ["pytest", "numpy", "matplotlib", "mypy", "pandas", "nbclient", "ipykernel", "safetensors"];
/// Bytes of the largest wheel that is accepted.
const LARGEST: u64 = 20 << 20;

/// `cargo xtask wheel [--test] [DIR]`.
pub fn command(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let (options, folders): (Vec<_>, Vec<_>) =
        arguments.iter().partition(|argument| argument.to_string_lossy().starts_with('-'));
    if options.iter().any(|option| *option != "--test") || folders.len() > 1 {
        return Err(Failure::new(
            "`wheel` takes --test, which also tests it, and the folder to write to",
            "cargo xtask wheel, or cargo xtask wheel --test dist",
        ));
    }
    let folder = folders.first().map_or_else(|| workspace.target().join("wheels"), PathBuf::from);
    let folder = std::path::absolute(&folder).or_fail(|| format!("find {}", folder.display()))?;
    let wheel = build(workspace, &folder)?;
    println!("{}", wheel.display());
    if options.is_empty() { Ok(()) } else { test(workspace, &wheel) }
}

/// Builds it into `folder`.
fn build(workspace: &Workspace, folder: &Path) -> Result<PathBuf> {
    setup::ensure(workspace)?;
    let python = Python::from_environment();
    let tools = workspace.target().join("wheel-tools");
    let maturin = tools.join("bin/maturin");
    if !maturin.exists() {
        python.venv(&tools)?;
        run(pip(&tools).arg(MATURIN), "fetch maturin")?;
    }
    carry_kernels(workspace)?;
    let fresh = workspace.target().join("wheel-new");
    let _ = fs::remove_dir_all(&fresh);
    let mut make = workspace.clean(Command::new(maturin));
    make.args(["build", "--release", "--auditwheel", "skip", "--manifest-path", "framework/python/Cargo.toml"]);
    make.arg("--interpreter").arg(python.program()).arg("--out").arg(&fresh);
    run(&mut make, "build the wheel")?;
    let made = fs::read_dir(&fresh).and_then(|mut files| files.next().transpose());
    let made = made.or_fail(|| format!("read the folder {}", fresh.display()))?;
    let made = made.ok_or_else(|| Failure::new("maturin made no wheel", "see its output"))?.path();
    let size = made.metadata().or_fail(|| format!("read {}", made.display()))?.len();
    if size > LARGEST {
        return Err(Failure::new(
            format!("the wheel has {size} bytes, more than {LARGEST}"),
            "see what it holds: unzip -l, and leave out what torch brings",
        ));
    }
    fs::create_dir_all(folder).or_fail(|| format!("make the folder {}", folder.display()))?;
    let wheel = folder.join(made.file_name().unwrap_or_default());
    fs::copy(&made, &wheel).or_fail(|| format!("write {}", wheel.display()))?;
    Ok(wheel)
}

/// Puts CUDA's half of the shim into the package where it was built, and takes an older one out.
fn carry_kernels(workspace: &Workspace) -> Result<()> {
    let built = workspace.foil_path().with_file_name("libfoil_cuda.so");
    let inside = workspace.root.join("framework/python/python/foil/libfoil_cuda.so");
    if built.exists() {
        return fs::copy(&built, &inside).map(drop).or_fail(|| format!("write {}", inside.display()));
    }
    match fs::remove_file(&inside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).or_fail(|| format!("remove {}", inside.display()))
        }
        _ => Ok(()),
    }
}

/// Installs it into a fresh environment and runs its tests there. A torch that the Python has is
/// used; otherwise pip fetches one.
fn test(workspace: &Workspace, wheel: &Path) -> Result<()> {
    let python = Python::from_environment();
    let fresh = workspace.target().join("wheel-test");
    let _ = fs::remove_dir_all(&fresh);
    python.venv(&fresh)?;
    if let Some(torch) = python.torch()
        && let Some(site) = torch.parent()
    {
        let own = Python::at(&fresh.join("bin/python")).site()?.join("torch.pth");
        fs::write(&own, site.display().to_string()).or_fail(|| format!("write {}", own.display()))?;
    }
    run(pip(&fresh).arg(wheel).args(FOR_TESTS), "install the wheel")?;
    let mut tests = workspace.clean(Command::new(fresh.join("bin/python")));
    tests.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "framework/python/tests"]);
    run(tests.env("OMP_NUM_THREADS", "1"), "test the wheel")
}

fn pip(environment: &Path) -> Command {
    let mut command = Command::new(environment.join("bin/python"));
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    command
}

/// Runs it; its output goes to this program's own.
fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().or_fail(|| what.to_owned())?;
    if status.success() {
        return Ok(());
    }
    let typed = command.get_args().map(|word| word.display().to_string()).collect::<Vec<_>>().join(" ");
    let program = command.get_program().display();
    Err(Failure::new(format!("could not {what} ({status})"), format!("to repeat it alone: {program} {typed}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_takes_is_said() {
        let workspace = Workspace::at(Path::new("/clone"));
        for wrong in [&["--tests"][..], &["a", "b"]] {
            let words: Vec<OsString> = wrong.iter().map(OsString::from).collect();
            assert!(command(&workspace, &words).unwrap_err().to_string().contains("takes --test"), "{wrong:?}");
        }
    }

    #[test]
    fn old_kernels_do_not_stay_in_the_package() {
        let scratch = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(scratch.path());
        let inside = scratch.path().join("framework/python/python/foil/libfoil_cuda.so");
        let built = scratch.path().join("target/release/libfoil_cuda.so");
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::create_dir_all(built.parent().unwrap()).unwrap();
        carry_kernels(&workspace).unwrap();
        fs::write(&built, "kernels").unwrap();
        carry_kernels(&workspace).unwrap();
        assert_eq!(fs::read_to_string(&inside).unwrap(), "kernels");
        fs::remove_file(&built).unwrap();
        carry_kernels(&workspace).unwrap();
        assert!(!inside.exists());
    }
}
