//! A figure belongs to the weights that it is printed for, and what a disk has spoilt is found when
//! it is read.

mod tiny;

use std::fs;
use std::time::{Duration, Instant};
use tiny::{AT, Place, Run};

/// A run of three epochs, not evaluated, and in `first.safetensors` its weights after the first.
fn place() -> (Place, Run) {
    let place = Place::with(AT);
    let first = place.train("short", &["train.epochs=1"]);
    fs::copy(first.file("last.safetensors"), place.path("first.safetensors")).unwrap();
    let run = place.train("run", &[]);
    (place, run)
}

fn copy(place: &Place, from: &str, to: &str) {
    fs::copy(place.path(from), place.path(to)).unwrap();
}

#[test]
fn a_record_of_older_weights_is_not_shown_for_newer_ones() {
    let (place, run) = place();
    copy(&place, "first.safetensors", "run/best.safetensors");
    let quick = ["eval", "run", "evaluate=[natural]", "--trust", "off"];
    place.foil(&quick).ok();
    let record = run.json("eval.json");
    assert_eq!(
        (&record["epoch"], &record["weights"]),
        (&1.into(), &run.tensors("best.safetensors").1["foil.weights"].as_str().into())
    );
    assert!(place.foil(&["table", "accuracy", "run"]).ok().out.contains("tiny"));

    // Training continues, and keeps a better checkpoint.
    copy(&place, "run/last.safetensors", "run/best.safetensors");
    let table = place.foil(&["table", "accuracy", "run"]).ok();
    let older = "eval.json is from older weights (epoch 1; best.safetensors is from epoch 3) and is left out";
    assert!(table.err.contains(older) && !table.out.contains("tiny"), "{}{}", table.out, table.err);
    place.foil(&["report", "run", "--images", "0"]).ok();
    let page = fs::read_to_string(place.path("report.html")).unwrap();
    assert!(page.contains(older) && page.contains("evaluate again: foil eval run"), "{page}");
    place.foil(&quick).ok();
    assert!(place.foil(&["table", "accuracy", "run"]).ok().out.contains("tiny"));

    // That of another checkpoint goes elsewhere.
    let before = run.text("eval.json");
    place.foil(&["eval", "run/last.safetensors", "evaluate=[natural]", "--trust", "off"]).ok();
    assert_eq!(run.text("eval.json"), before);
    assert_eq!(run.json("last.eval.json")["epoch"], 3);
    assert!(run.file("last.eval.images.csv").exists());
}

#[test]
fn an_evaluation_with_other_settings_is_another_record() {
    let (place, run) = place();
    let eval = |words: &[&str]| place.foil(&[&["eval", "run", "--trust", "off"], words].concat()).ok();
    eval(&[]);
    let before = (run.text("eval.json"), run.text("eval.images.csv"));
    let narrow = eval(&["evaluate=[natural]", "images.test_limit=20"]);
    assert_eq!((run.text("eval.json"), run.text("eval.images.csv")), before, "the record of more attacks stays");
    let name = narrow.out.split("record: run/").nth(1).unwrap().trim().to_string();
    assert!(name.starts_with("eval.") && name.len() == "eval.01234567.json".len(), "{name}");
    assert_eq!(run.json(&name)["n"], 20);
    assert!(run.file(&name.replace(".json", ".images.csv")).exists());
    eval(&["evaluate=[natural]", "images.test_limit=20"]);
    let is_record = |name: &&String| name.starts_with("eval.") && name.ends_with(".json");
    let records = || run.files().iter().filter(is_record).count();
    assert_eq!(records(), 2, "the same settings are the same record");

    // The widest is the one that tables use, and they say so.
    let table = place.foil(&["table", "accuracy", "run"]).ok();
    let says = "run has 2 evaluations; used is eval.json, the widest (1 attack on 50 images)";
    assert!(table.err.contains(says) && table.out.contains("PGD-2"), "{}{}", table.out, table.err);
    eval(&["attacks.pgd3={ type: pgd, eps: 0.1, alpha: 0.05, steps: 3 }", "evaluate=[natural,pgd2,pgd3]"]);
    let table = place.foil(&["table", "accuracy", "run"]).ok();
    assert!(table.out.contains("PGD-3") && table.err.contains("run has 3 evaluations; used is eval."), "{}", table.err);

    // A comparison takes the one it asks for.
    fs::write(place.path("tiny.yaml"), AT).unwrap();
    let compared = place.foil(&["compare", "tiny.yaml", "--dir", ".", "--dry-run"]).ok();
    assert!(compared.out.contains("done"), "{}", compared.out);
    assert_eq!(run.text("eval.json"), before.0);
}

#[test]
fn an_evaluation_that_ends_late_replaces_no_newer_record() {
    let (place, run) = place();
    place.foil(&["eval", "run", "evaluate=[natural]", "--trust", "off"]).ok();
    let newer = ["best.safetensors", "eval.json", "eval.images.csv"];
    newer.iter().for_each(|name| copy(&place, &format!("run/{name}"), name));
    ["eval.json", "eval.images.csv"].iter().for_each(|name| fs::remove_file(run.file(name)).unwrap());
    copy(&place, "first.safetensors", "run/best.safetensors");

    let slow = ["eval", "run", "evaluate=[natural, pgd2]", "attacks.pgd2.steps=400", "--trust", "off"];
    let late = place.begin(&[&slow[..], &["train.eval_batch_size=10"]].concat());
    let started = Instant::now();
    while !run.file("eval.partial.json").exists() && started.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Meanwhile training ended, and was evaluated.
    newer.iter().for_each(|name| copy(&place, name, &format!("run/{name}")));
    let ended = late.end().ok();
    assert_eq!(run.text("eval.json"), fs::read_to_string(place.path("eval.json")).unwrap());
    assert_eq!(run.text("eval.images.csv"), fs::read_to_string(place.path("eval.images.csv")).unwrap());
    assert_eq!(run.json("eval.epoch1.json")["epoch"], 1);
    // It is not what a table shows, and there is nothing to evaluate again.
    let table = place.foil(&["table", "accuracy", "run"]).ok();
    assert!(table.out.contains("tiny") && !table.err.contains("epoch1"), "{}{}", table.out, table.err);
    assert!(ended.err.contains("this evaluation is from older weights (epoch 1;"), "{}", ended.err);
    assert!(ended.err.contains("eval.json is from newer weights and is kept"), "{}", ended.err);
}

#[test]
fn a_comparison_evaluates_again_what_was_evaluated_with_other_weights() {
    let (place, _) = place();
    let compare = ["compare", "tiny.yaml", "train.epochs=1", "evaluate=[natural]"];
    place.foil(&compare).ok();
    copy(&place, "run/last.safetensors", "runs/tiny/best.safetensors");
    let plan = place.foil(&[&compare[..], &["--dry-run"]].concat()).ok().out;
    assert!(plan.contains("needs re-evaluation (its weights changed)"), "{plan}");
    place.foil(&compare).ok();
    assert_eq!(place.run("runs/tiny").json("eval.json")["epoch"], 3);
    let plan = place.foil(&[&compare[..], &["--dry-run"]].concat()).ok().out;
    assert!(plan.contains("1 of 1 runs done"), "{plan}");
}

/// A digit that became another one makes records that can be read, and are not those of the run.
#[test]
fn a_figure_that_was_changed_is_not_shown() {
    let (place, run) = place();
    place.foil(&["eval", "run", "--trust", "off"]).ok();
    let table = |what: &str| place.foil(&["table", what, "run"]);
    let truth = table("accuracy").ok().out;
    assert!(truth.contains("tiny"), "{truth}");
    let change = |name: &str, from: &str, to: &str| {
        let (whole, changed) = (run.text(name), run.text(name).replacen(from, to, 1));
        assert_ne!(whole, changed);
        fs::write(run.file(name), changed).unwrap();
        whole
    };
    let restored = |name: &str, whole: String| fs::write(run.file(name), whole).unwrap();

    let accuracy = "\"accuracy\": ";
    let whole = change("eval.json", accuracy, &format!("{accuracy}1"));
    let ended = table("accuracy").ok();
    assert!(!ended.out.contains("tiny"), "{}", ended.out);
    restored("eval.json", whole);
    let whole = change("eval.json", "\"seed\": 7", "\"seed\": 6");
    let damaged = "run/eval.json: the evaluation record is damaged";
    assert!(table("accuracy").ok().err.contains(damaged));
    restored("eval.json", whole);

    let whole = change("eval.images.csv", "\n1,", "\n2,");
    assert!(table("per-class").error().contains("no run has stored its images"));
    let ended = table("accuracy").ok();
    assert_eq!(ended.out, truth);
    assert!(
        ended.err.contains("run/eval.images.csv is not the table that eval.json was written with"),
        "{}",
        ended.err
    );
    restored("eval.images.csv", whole);

    change("metrics.jsonl", "\"train_loss\":2", "\"train_loss\":1");
    let damaged = "run/metrics.jsonl is damaged: its figures are not those that were written";
    place.foil(&["report", "run", "--images", "0"]).ok();
    let page = fs::read_to_string(place.path("report.html")).unwrap();
    assert!(page.contains(&format!("{damaged}, and is left out")), "{page}");
    let error = place.foil(&["train", "--resume", "run", "--no-eval"]).error();
    assert!(error.contains(damaged) && error.contains("restore a good copy"), "{error}");
}

/// Changes one bit of a tensor.
fn flip(run: &Run, name: &str) {
    let mut bytes = fs::read(run.file(name)).unwrap();
    let at = bytes.len() - 2;
    bytes[at] ^= 1;
    fs::write(run.file(name), bytes).unwrap();
}

#[test]
fn one_bit_of_damage_is_found() {
    let (place, run) = place();
    for name in ["best.safetensors", "last.safetensors"] {
        flip(&run, name);
        let error = place.foil(&["eval", &format!("run/{name}")]).error();
        assert!(
            error.contains(&format!("run/{name} is damaged: its numbers are not those that were written")),
            "{error}"
        );
    }
    let error = place.foil(&["export", "run"]).error();
    assert!(error.contains("best.safetensors is damaged"), "{error}");
    let error = place.foil(&["train", "tiny.yaml", "init=run/best.safetensors", "--run-dir", "other"]).error();
    assert!(error.contains("best.safetensors is damaged") && !place.path("other").exists(), "{error}");
    flip(&run, "state.safetensors");
    let error = place.foil(&["train", "--resume", "run"]).error();
    assert!(error.contains("state.safetensors is damaged") && error.contains("restore a good copy"), "{error}");
}

#[test]
fn curves_that_lack_epochs_are_an_error_when_the_run_goes_on() {
    let (place, run) = place();
    let (whole, resolved) = (run.text("metrics.jsonl"), run.text("resolved.yaml"));
    fs::write(run.file("resolved.yaml"), resolved.replace("epochs: 3", "epochs: 4")).unwrap();
    let resume = ["train", "--resume", "run", "--no-eval"];
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let torn = &whole[..whole.len() - 20];
    for (text, gap) in [
        (lines[..2].concat(), "ends with epoch 2, but 3 are done"),
        (torn.to_string(), "ends with epoch 2, but 3 are done"),
        ([lines[0], lines[2]].concat(), "has no row of epoch 2, but 3 are done"),
        (String::new(), "is empty, but 3 epochs are done"),
    ] {
        fs::write(run.file("metrics.jsonl"), &text).unwrap();
        let error = place.foil(&resume).error();
        assert!(
            error.contains(&format!("run/metrics.jsonl {gap}")) && error.contains("restore a good copy"),
            "{error}"
        );
        assert_eq!(run.text("metrics.jsonl"), text, "it was changed");
    }
    fs::write(run.file("metrics.jsonl"), torn).unwrap();
    place.foil(&["report", "run", "--images", "0"]).ok();
    let page = fs::read_to_string(place.path("report.html")).unwrap();
    assert!(
        page.contains("metrics.jsonl: its last line is incomplete")
            && page.contains("ends with epoch 2, but 3 are done")
    );

    // BackgroundWriter the last epoch that is done, a torn line is what a kill leaves.
    fs::write(run.file("metrics.jsonl"), format!("{whole}{{\"epoch\":4,\"st")).unwrap();
    place.foil(&resume).ok();
    let grown = run.text("metrics.jsonl");
    assert!(grown.starts_with(&whole) && run.metrics().len() == 4, "{grown}");
}
