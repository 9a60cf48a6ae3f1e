//! `cargo xtask bundle DIR`: a folder that trains on a machine with Python's torch 2.11.0 and
//! nothing else that foil needs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail, Result};
use crate::job::{BUILD, Job};
use crate::workspace::Workspace;
use crate::{cuda, setup};

/// Starts the program of its own name with Python's libtorch. `PYTHON` may name another Python, and
/// `LIBTORCH` another libtorch.
const RUN: &str = include_str!("../bundle/foil");
const README: &str = include_str!("../bundle/README.md");
/// Builds the library's own tests, including those of its kernels, and reports where.
const TESTS: &str = "test --release -p foil-train --lib --no-run --message-format=json-render-diagnostics";

/// `cargo xtask bundle DIR`.
pub fn command(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let [folder] = arguments else {
        return Err(Failure::new("`bundle` takes one folder, which it makes", "cargo xtask bundle foil-gpu"));
    };
    let folder = std::path::absolute(folder).or_fail(|| format!("find {}", Path::new(folder).display()))?;
    if folder.exists() {
        let error = format!("{} already exists", folder.display());
        return Err(Failure::new(error, "name a new folder, or remove it"));
    }
    let libtorch = setup::ensure(workspace)?;
    Job::cargo(BUILD).run(workspace)?;
    let library = cuda::build(workspace, &libtorch)?;
    let output = Job::cargo(TESTS).stdout(workspace)?;
    let nothing =
        || Failure::new("cargo does not say where foil's tests are", format!("see its output: cargo {TESTS}"));
    let tests = executable(&output).ok_or_else(nothing)?;

    // Whole or not at all.
    let new = folder.with_extension(format!("new-{}", std::process::id()));
    let made = fill(workspace, &library, &tests, &new);
    if made.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    made?;
    fs::rename(&new, &folder).or_fail(|| format!("write {}", folder.display()))?;
    println!("{}", folder.display());
    Ok(())
}

/// The last program that cargo says it built, from its messages in JSON.
fn executable(messages: &str) -> Option<PathBuf> {
    let (_, path) = messages.rsplit_once("\"executable\":\"")?;
    Some(PathBuf::from(path.split_once('"')?.0))
}

fn fill(workspace: &Workspace, library: &Path, tests: &Path, folder: &Path) -> Result<()> {
    let program = workspace.foil_path();
    let files = [
        (program.as_path(), "bin/foil"),
        (library, "bin/libfoil_cuda.so"),
        (tests, "bin/foil_tests"),
        (&workspace.root.join("docs/results/measure.sh"), "measure.sh"),
        (&workspace.root.join("docs/results/torch_peers.py"), "torch_peers.py"),
        (&workspace.root.join("docs/gpu.md"), "docs/gpu.md"),
        (&workspace.root.join("docs/results/gpu.md"), "docs/results-gpu.md"),
        (&workspace.root.join("docs/pipelines.md"), "docs/pipelines.md"),
        (&workspace.root.join("LICENSE"), "LICENSE"),
    ];
    for (from, to) in files {
        copy(from, &folder.join(to))?;
    }
    copy_all(&workspace.root.join("configs"), &folder.join("configs"))?;
    write(&folder.join("README.md"), README)?;
    for name in ["foil", "foil_tests"] {
        write(&folder.join(name), RUN)?;
        allow(&folder.join(name))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    make_parent(to)?;
    fs::copy(from, to).map(drop).or_fail(|| format!("copy {} to {}", from.display(), to.display()))
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let entries = || fs::read_dir(from)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>();
    for path in entries().or_fail(|| format!("read the folder {}", from.display()))? {
        let Some(name) = path.file_name() else { continue };
        let into = to.join(name);
        if path.is_dir() { copy_all(&path, &into)? } else { copy(&path, &into)? }
    }
    Ok(())
}

fn write(to: &Path, text: &str) -> Result<()> {
    make_parent(to)?;
    fs::write(to, text).or_fail(|| format!("write {}", to.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).or_fail(|| format!("make the folder {}", parent.display()))
}

/// Makes it executable.
fn allow(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .or_fail(|| format!("make {} a program", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_folder_that_is_there_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(scratch.path());
        let failure = command(&workspace, &[scratch.path().into()]).unwrap_err().to_string();
        assert!(failure.contains("already exists"), "{failure}");
        assert!(command(&workspace, &[]).unwrap_err().to_string().contains("takes one folder"));
    }

    #[test]
    fn the_last_program_is_the_one() {
        let messages = r#"{"reason":"compiler-artifact","executable":null}
{"reason":"compiler-artifact","executable":"/a b/deps/foil-1","fresh":true}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/a b/deps/foil-1")));
        assert_eq!(executable("{}"), None);
    }

    /// The script, with a Python that says where its torch is, or that it has none.
    fn started(python: &str, torch: Option<&str>) -> std::process::Output {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        write(&at("foil"), RUN).unwrap();
        write(&at("bin/foil"), "#!/bin/sh\necho \"$LD_LIBRARY_PATH|$*\"\n").unwrap();
        write(&at("python"), &format!("#!/bin/sh\n{python}\n")).unwrap();
        for name in ["foil", "bin/foil", "python"] {
            allow(&at(name)).unwrap();
        }
        if let Some(torch) = torch {
            write(&at(torch).join("lib/libtorch_cpu.so"), "").unwrap();
            write(&at(torch).join("version.py"), "__version__ = '2.11.0+cu130'\n").unwrap();
        }
        let mut command = Command::new(at("foil"));
        command.args(["train", "a b.yaml"]).env("PYTHON", at("python")).env("HERE", scratch.path());
        command.env_remove("LD_LIBRARY_PATH").env_remove("LIBTORCH").output().unwrap()
    }

    #[test]
    fn the_script_finds_pythons_torch_or_says_what_is_missing() {
        let output = started("echo \"$HERE/torch\"", Some("torch"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.trim_end().ends_with("/torch/lib|train a b.yaml"), "{output:?}");
        let output = started("exit 1", None);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("has no torch") && text.contains("help:"), "{text}");
        let output = started("echo \"$HERE/other\"", None);
        assert!(String::from_utf8_lossy(&output.stderr).contains("libtorch_cpu.so"), "{output:?}");
    }
}
