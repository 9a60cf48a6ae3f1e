//! What `foil check` prints for each kind of mistake: every `tests/data/errors/X.yaml` against the `X.stderr` beside it.
//!
//! Comment lines `# override: a.b=c` at the top of a case are its command line. `UPDATE_EXPECT=1 cargo test --test
//! config_errors` writes the expectations anew; read the difference as a newcomer would before it is committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/errors");

/// The cases by name. `bases/` holds what they extend.
fn cases() -> Vec<PathBuf> {
    let files = fs::read_dir(FOLDER).expect("the folder of cases").map(|entry| entry.expect("a file").path());
    let mut cases: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    cases.sort();
    cases
}

/// Runs in the folder of the cases, so that messages hold no path of this machine.
fn check(case: &Path) -> Output {
    let bytes = fs::read(case).expect("a case");
    let text = String::from_utf8_lossy(&bytes);
    let overrides = text.lines().map_while(|line| line.strip_prefix("# override: "));
    let mut foil = Command::new(env!("CARGO_BIN_EXE_foil"));
    foil.current_dir(FOLDER).env("OMP_NUM_THREADS", "1").env("RUST_BACKTRACE", "1");
    foil.arg("check").arg(case.file_name().expect("a name")).args(overrides).output().expect("foil runs")
}

#[test]
fn every_mistake_reads_as_expected() {
    let (cases, update) = (cases(), std::env::var_os("UPDATE_EXPECT").is_some());
    assert!(cases.len() > 30, "{} cases", cases.len());
    let mut differences = String::new();
    for case in cases {
        let Output { status, stdout, stderr } = check(&case);
        let found = String::from_utf8(stderr).expect("messages are UTF-8");
        assert_eq!(status.code(), Some(1), "{}: {found}", case.display());
        assert!(stdout.is_empty(), "{} prints to standard output", case.display());
        assert!(found.starts_with("error: "), "{}: {found}", case.display());
        for word in ["panicked", "backtrace", "src/", "Some(", "Err("] {
            assert!(!found.contains(word), "{} shows {word}: {found}", case.display());
        }
        let expectation = case.with_extension("stderr");
        if update {
            fs::write(&expectation, &found).expect("a writable expectation");
        }
        let expected = fs::read_to_string(&expectation).unwrap_or_default();
        if found != expected {
            differences += &format!("== {}\n-- expected\n{expected}-- found\n{found}", case.display());
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn no_expectation_is_left_over() {
    for file in fs::read_dir(FOLDER).expect("the folder of cases").map(|entry| entry.expect("a file").path()) {
        if file.extension().is_some_and(|end| end == "stderr") {
            assert!(file.with_extension("yaml").exists(), "{} belongs to no case", file.display());
        }
    }
}
