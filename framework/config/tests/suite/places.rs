//! The caller's own problems find the line of their key.

use crate::pipeline::{FULL, check};
use foil_config::Problem;

#[test]
fn a_path_leads_to_its_line() {
    let checked = check(FULL, &["train.epochs=7"]).expect("right");
    let table = [
        ("name", "x.yaml:1:1"),
        ("attack", "x.yaml:3:1"),
        ("attack.inner.objective.kappa", "x.yaml:5:46"),
        ("train.epochs", "override `train.epochs=7`"),
        ("train.warmup.type", "x.yaml:12:3"),
        ("evaluate.1.eps", "x.yaml:13:31"),
    ];
    for (path, expected) in table {
        let place = checked.locate(path).unwrap_or_else(|| panic!("{path} was written"));
        assert_eq!(place.to_string(), expected, "{path}");
    }
    for path in ["train.shuffle", "evaluate.2", "nothing.here", "train.epochs.x"] {
        assert_eq!(checked.locate(path), None, "{path}");
    }
}

#[test]
fn a_problem_falls_back_to_the_nearest_key() {
    let checked = check(FULL, &[]).expect("right");
    let problem = checked.problem("train.shuffle", "`train.shuffle` cannot be", "");
    assert_eq!(problem.to_string(), "error: `train.shuffle` cannot be\n  --> x.yaml:8:1\n   | train:");
    let whole = checked.problem("", "no", "").place.map(|place| place.to_string());
    assert_eq!(whole.as_deref(), Some("x.yaml:1:1"));
}

#[test]
fn problems_are_placed_and_sorted() {
    let checked = check(FULL, &[]).expect("right");
    let problems = checked.problems(["train.epochs", "attack.inner.eps"].map(|path| Problem::new(path, path, "help")));
    assert_eq!(
        problems.0.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(),
        ["attack.inner.eps", "train.epochs"]
    );
    assert!(problems.to_string().contains("x.yaml:9:3"));
}
