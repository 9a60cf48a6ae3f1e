//! What `foil check` prints for each kind of mistake: every `tests/data/errors/X.yaml` against the
//! `X.stderr` beside it.
//!
//! Comment lines `# override: a.b=c` at the top of a case are its command line.
//! `UPDATE_EXPECT=1 cargo test --test config_errors` rewrites the expectations; read the
//! difference as a newcomer would before it is committed.

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
    check_with(case, &[])
}

/// The same with more overrides.
fn check_with(case: &Path, more: &[String]) -> Output {
    let bytes = fs::read(case).expect("a case");
    let text = String::from_utf8_lossy(&bytes);
    let overrides = text.lines().map_while(|line| line.strip_prefix("# override: "));
    let overrides = overrides.map(String::from).chain(more.iter().cloned());
    let mut foil = Command::new(env!("CARGO_BIN_EXE_foil"));
    foil.current_dir(FOLDER).env("OMP_NUM_THREADS", "1").env("RUST_BACKTRACE", "1");
    foil.arg("check").arg(case.strip_prefix(FOLDER).expect("a case")).args(overrides).output().expect("foil runs")
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

/// The value that a help gives for the key in question, as YAML; none where it speaks in general.
fn suggested(help: &str) -> Option<String> {
    let quoted = |start: &str| Some(help.split_once(start)?.1.split_once('`')?.0.to_string());
    let rest = |start: &str| Some(help.split_once(start)?.1.to_string());
    let value = quoted("write `")
        .or_else(|| quoted("such as `"))
        .or_else(|| quoted("did you mean `"))
        .or_else(|| rest("write a list: "))
        .or_else(|| rest("quote it to make it text: "))?;
    // `mode: eval` is of a key inside.
    (!value.contains(": ")).then_some(value)
}

/// (the key, the whole message, the value suggested) for every problem about the value of a key
/// that comes with one.
fn hints(stderr: &str) -> Vec<(String, String, String)> {
    let blocks = stderr.split("error: ").skip(1);
    let hint = |block: &str| {
        let message = block.lines().next()?;
        let (key, what) = message.strip_prefix('`')?.split_once("` ")?;
        let about_the_value = ["is ", "cannot be ", "names "].iter().any(|verb| what.starts_with(verb));
        let help = block.lines().find_map(|line| line.strip_prefix("  help: "))?;
        about_the_value.then_some((key.to_string(), message.to_string(), suggested(help)?))
    };
    blocks.filter_map(hint).collect()
}

#[test]
fn a_value_that_a_help_suggests_is_taken() {
    let mut mistakes: Vec<(PathBuf, Vec<String>)> = cases().into_iter().map(|case| (case, Vec::new())).collect();
    for mistake in [
        "attack.eps=8",
        "attack.eps=255",
        "attack.eps=256",
        "attack.eps=300/255",
        "attack.eps=1.5",
        "attack={ type: square, eps: 2 }",
        "name=1e5",
        "name=0x1F",
        "name=007",
        "name=+1.50",
        "name=true",
        "name=-.inf",
        "seed=10.0",
        "seed=-3.0",
        "seed=1e30",
        "train.epochs=3.0",
        "train.epochs=1e9",
        "train.epochs=0.0",
        "train.flush_denormal=yes",
        "train.capture=Atuo",
        "evaluate=natural",
        "evaluate=[natrual]",
        "attack.steps=10.0",
        "attack.start=unifrom",
        "data=mnist_subst",
        "device=cdua",
    ] {
        mistakes.push((Path::new(FOLDER).join("bases/digits.yaml"), vec![mistake.to_string()]));
    }
    let (mut tried, mut refused) = (0, String::new());
    for (case, overrides) in mistakes {
        let of = |more: &[String]| check_with(&case, &[&overrides[..], more].concat());
        let before = match overrides.is_empty() {
            true => fs::read_to_string(case.with_extension("stderr")).expect("an expectation"),
            false => String::from_utf8_lossy(&of(&[]).stderr).into_owned(),
        };
        assert!(before.starts_with("error: "), "{overrides:?}: {before}");
        for (key, message, value) in hints(&before) {
            tried += 1;
            let after = of(&[format!("{key}={value}")]);
            let after = String::from_utf8_lossy(&after.stderr);
            if after.contains(&message) || after.contains(&format!("error: `{key}` ")) {
                refused += &format!("{} {overrides:?}: {message}\n  then {key}={value}\n{after}", case.display());
            }
        }
    }
    assert!(tried > 25, "{tried}");
    assert!(refused.is_empty(), "{refused}");
}

/// What is quoted is the text that was written.
#[test]
fn a_number_that_is_quoted_is_the_text_that_was_written() {
    let base = Path::new(FOLDER).join("bases/digits.yaml");
    for word in ["1e5", "0x1F", "007", "+1.50", "1.", "True", "-.INF"] {
        let before = String::from_utf8(check_with(&base, &[format!("name={word}")]).stderr).expect("UTF-8");
        let help = format!("quote it to make it text: \"{word}\"");
        assert!(before.contains(&help), "{before}");
        let after = check_with(&base, &[format!("name=\"{word}\""), "seed=7".into()]);
        assert!(after.status.success(), "{}", String::from_utf8_lossy(&after.stderr));
    }
}

#[test]
fn no_expectation_is_left_over() {
    for file in fs::read_dir(FOLDER).expect("the folder of cases").map(|entry| entry.expect("a file").path()) {
        if file.extension().is_some_and(|end| end == "stderr") {
            assert!(file.with_extension("yaml").exists(), "{} belongs to no case", file.display());
        }
    }
}
