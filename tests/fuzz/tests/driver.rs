//! The driver finds each kind of fault, keeps its input, and continues after it.

use std::process::{Command, Output};

fn fuzz(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foil-fuzz")).args(words).output().unwrap()
}

#[test]
fn every_kind_of_fault_is_found() {
    let keep = tempfile::tempdir().unwrap();
    let folder = keep.path().display().to_string();
    let output = fuzz(&["faults", "--cases", "50", "--keep", &folder]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for (case, input, why) in [
        (2, "panic", "it panicked: as it was told at "),
        (3, "abort", "signal 6 ended it"),
        (4, "sleep", "it took more than 10s"),
        (5, "memory", " MiB"),
        (6, "escape", "control character"),
        (7, "empty", "the error says nothing"),
    ] {
        let line = text.lines().find(|line| line.starts_with(&format!("faults, case {case}: ")));
        assert!(line.is_some_and(|line| line.contains(why)), "{why}: {text}");
        let kept = format!("{folder}/faults-1-{case}");
        assert!(text.contains(&format!("cargo xtask fuzz faults --replay {kept}")), "{text}");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), input);
    }
    // The rest was tried all the same.
    let row: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!((row[0], row[1], row[4]), ("faults", "50", "6"), "{text}");
    let replayed = fuzz(&["faults", "--replay", &format!("{folder}/faults-1-7")]);
    assert_eq!(replayed.status.code(), Some(1), "{}", String::from_utf8_lossy(&replayed.stdout));
}

#[test]
fn the_same_seed_makes_the_same_cases() {
    let counts = |seed: &str| {
        let output = fuzz(&["locks", "--cases", "300", "--seed", seed]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        text.lines().last().unwrap().split_whitespace().take(5).map(String::from).collect::<Vec<_>>()
    };
    let first = counts("1");
    assert_eq!(counts("1"), first);
    assert_ne!(counts("2"), first);
}

#[test]
fn an_unknown_target_lists_the_known_ones() {
    let output = fuzz(&["pipeline"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("there is no target `pipeline`") && text.contains("pipelines, overrides"), "{text}");
}
