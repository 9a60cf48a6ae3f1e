//! `foil sweep`: a file's combinations, each trained and evaluated once.

mod tiny;

use std::fs;
use tiny::{AT, Place, Run};

const GRID: &str = "sweep: { loss.log_clean: [true, false], attack.eps: [8/255, 0.3] }\n";

/// Its runs in the order in which they are trained: keys in alphabetical order, values as listed.
const RUNS: [&str; 4] = [
    "attack.eps=8_255,loss.log_clean=true",
    "attack.eps=8_255,loss.log_clean=false",
    "attack.eps=0.3,loss.log_clean=true",
    "attack.eps=0.3,loss.log_clean=false",
];

fn grid() -> Place {
    Place::with(&format!("{AT}{GRID}"))
}

const SWEEP: [&str; 5] = ["sweep", "tiny.yaml", "train.epochs=1", "--dir", "grid"];

fn runs(place: &Place) -> [Run; 4] {
    RUNS.map(|label| place.run(&format!("grid/{label}")))
}

#[test]
fn each_combination_is_the_run_that_its_overrides_make() {
    let place = grid();
    let ended = place.foil(&SWEEP).ok();
    let table = fs::read_to_string(place.path("grid/table.md")).unwrap();
    for (run, label) in runs(&place).iter().zip(RUNS) {
        assert!(ended.out.contains(label) && table.contains(label), "{}{table}", ended.out);
        assert!(!run.text("resolved.yaml").contains("sweep"));
        assert!(run.text("log.txt").contains(label), "each run has its own log: {}", run.text("log.txt"));
    }
    let name = format!("name={}", RUNS[1]);
    let alone =
        place.train("alone", &["sweep=null", "train.epochs=1", "attack.eps=8/255", "loss.log_clean=false", &name]);
    runs(&place)[1].assert_same(&alone);
    let [a, b] = [0, 2].map(|n: usize| runs(&place)[n].text("metrics.jsonl"));
    assert_ne!(a, b, "the radius makes a difference");
}

#[test]
fn killed_and_repeated_it_trains_only_what_is_missing() {
    let place = grid();
    let mut running = place.start(&SWEEP);
    assert!(running.wait_for("run 3 of 4"));
    assert!(running.kill(), "it ended before it could be killed");
    let before = || runs(&place).map(|run| fs::metadata(run.file("state.safetensors")).and_then(|m| m.modified()).ok());
    let [first, second, ..] = before();
    assert!(first.is_some() && second.is_some() && !runs(&place)[3].0.exists());

    let ended = place.foil(&SWEEP).ok();
    assert_eq!(ended.err.matches("already done").count(), 2, "{}", ended.err);
    assert_eq!([first, second][..], before()[..2], "finished runs were trained again");
    assert!(ended.out.contains("4 of 4 runs"), "{}", ended.out);
    assert!(RUNS.iter().all(|label| ended.out.contains(label)), "{}", ended.out);
}

#[test]
fn runs_with_other_settings_get_folders_of_their_own() {
    let place = Place::with(&format!("{AT}sweep: {{ attack.eps: [0.1] }}\n"));
    place.foil(&SWEEP).ok();
    place.foil(&[&SWEEP[..], &["loss.log_clean=false", "seed=8"]].concat()).ok();
    let plan = place.foil(&[&SWEEP[..], &["--dry-run"]].concat()).ok();
    assert!(plan.out.contains("grid/attack.eps=0.1 ") && plan.out.contains("1 of 1 runs done"), "{}", plan.out);
    let eights = fs::read_to_string(place.path("grid/attack.eps=0.1-log_clean=false-seed8/resolved.yaml")).unwrap();
    assert!(eights.contains("seed: 8") && eights.contains("name: attack.eps=0.1-log_clean=false\n"), "{eights}");
}

#[test]
fn interrupted_it_saves_and_says_how_to_go_on() {
    let place = grid();
    let mut running = place.start(&["sweep", "tiny.yaml", "train.epochs=500", "--dir", "grid"]);
    running.wait_for("epoch 1/500");
    running.signal("INT");
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert!(ended.err.contains("run the same command to resume"), "{}", ended.err);
    assert!(runs(&place)[0].file("state.safetensors").exists() && !runs(&place)[1].0.exists());
}

#[test]
fn a_run_that_fails_does_not_hide_the_others() {
    let place = Place::with(&format!("{AT}sweep: {{ optimizer.lr: [1.0e+30, 0.05] }}\n"));
    let ended = place.foil(&SWEEP);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("error: ") && ended.err.contains("1 of 2 runs failed"), "{}", ended.err);
    assert!(ended.out.contains("optimizer.lr=0.05") && ended.out.contains("1 of 2 runs"), "{}", ended.out);
}

#[test]
fn what_is_no_run_and_what_is_no_sweep_are_told_apart() {
    let place = grid();
    let err = place.foil(&["train", "tiny.yaml"]).error();
    assert!(err.contains("is a sweep of 4 runs") && err.contains("foil sweep tiny.yaml"), "{err}");
    let err = place.foil(&["sweep", "tiny.yaml", "sweep=null"]).error();
    assert!(err.contains("has no `sweep`") && err.contains("foil train tiny.yaml"), "{err}");
}

#[test]
fn check_looks_at_every_combination() {
    let place = grid();
    let ended = place.foil(&["check", "tiny.yaml"]).ok();
    assert!(ended.out.contains("(4 runs)"), "{}", ended.out);
    let problem = |sweep: &str| place.foil(&["check", "tiny.yaml", &format!("sweep={sweep}")]).error();

    let err = problem("{ attack.eps: [8, 0.3] }");
    assert!(err.contains("`attack.eps` is 8") && err.contains("write `8/255`"), "{err}");
    let blamed: Vec<&str> = err.lines().filter(|line| line.contains("in the run")).collect();
    assert_eq!(blamed.len(), 2, "{err}");
    assert!(blamed.iter().all(|line| line.contains("attack.eps=8,")), "{err}");

    for (sweep, message) in [
        ("{ loss.log_clean: [] }", "lists no values for `loss.log_clean`"),
        ("{ attack.eps: [0.1, 0.1] }", "lists `0.1` twice for `attack.eps`"),
        ("{ extends: [a, b] }", "cannot be swept"),
        ("{ loss.log_clean: 3 }", "takes a list"),
        ("{ loss.log_klean: [true] }", "unknown key `log_klean`"),
    ] {
        let err = problem(sweep);
        assert!(err.contains(message), "{err}");
    }
    let many: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
    assert!(problem(&format!("{{ seed: [{}] }}", many.join(","))).contains("more than 1000 runs"));
    let err = place.foil(&["check", "tiny.yaml", "attack.eps=0.1"]).error();
    assert!(err.contains("`attack.eps` is swept"), "{err}");
}

#[test]
fn a_file_that_others_extend_is_checked_with_them() {
    let place = Place::with(AT);
    fs::write(place.path("base.yaml"), AT.replace("loss: at\n", "")).unwrap();
    fs::write(place.path("child.yaml"), "extends: base.yaml\nloss: at\n").unwrap();
    assert!(place.foil(&["check", "base.yaml", "tiny.yaml"]).error().contains("missing key `loss`"));
    let ended = place.foil(&["check", "base.yaml", "child.yaml"]).ok();
    assert!(ended.out.contains("(no run)") && ended.err.is_empty(), "{}{}", ended.out, ended.err);
}
