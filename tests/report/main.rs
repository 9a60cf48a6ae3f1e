//! `foil report`: what is on the page, what is missing or odd, how fast and how large it is, and
//! how a browser shows it; and the drawings of `foil figure` and `foil theory`.

mod bad_input;
mod browser;
mod figures;
mod paper;
mod runs;
mod size;
#[path = "../tiny/mod.rs"]
mod tiny;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `foil report` with these arguments.
fn foil(args: &[&str]) -> Output {
    command("report", args)
}

/// Runs a command of foil with these arguments.
fn command(name: &str, args: &[&str]) -> Output {
    let mut foil = Command::new(env!("CARGO_BIN_EXE_foil"));
    foil.env("OMP_NUM_THREADS", "1").arg(name).args(args).output().expect("foil starts")
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
