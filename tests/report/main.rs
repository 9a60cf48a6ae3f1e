//! `foil report`: what is on the page, what is missing or odd, how fast and how large it is, and how a browser shows it.

mod bad_input;
mod browser;
mod runs;
mod size;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `foil report` with these arguments.
fn foil(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foil")).arg("report").args(args).output().expect("foil starts")
}

/// A page about `runs`, without images (no weights are there to make them with).
fn page(runs: &[&Path], out: &Path) -> String {
    let mut args: Vec<&str> = runs.iter().map(|run| run.to_str().expect("a path")).collect();
    args.extend(["--out", out.to_str().expect("a path")]);
    let output = foil(&args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    std::fs::read_to_string(out).expect("the page is there")
}

/// Where a test's runs and page stay to be looked at.
fn place(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).expect("a folder");
    place
}
