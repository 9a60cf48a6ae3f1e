//! Runs that are killed and resumed: they end with the same bits as runs that are not.
//!
//! Here: SIGKILL at moments that are hard to hit; at random ones, with every method, in `campaign/`.
//! Signals that the program can answer are in `interrupt.rs`; damaged folders in `trust.rs`.

mod tiny;

use std::fs;
use tiny::{AT, Place};

#[test]
fn killed_while_the_state_is_being_written() {
    let place = Place::with(AT);
    let whole = place.train("whole", &[]);
    let run = place.run("killed");
    let unfinished = || run.files().into_iter().any(|name| name.starts_with(".state.safetensors."));
    let mut hits = 0;
    let mut start: &[&str] = &["train", "tiny.yaml", "--no-eval", "--run-dir", "killed"];
    for _ in 0..20 {
        let running = place.start(start);
        start = &["train", "--resume", "killed", "--no-eval"];
        while !unfinished() && run.metrics_so_far() < 3 {}
        if !running.kill() || run.metrics_so_far() == 3 {
            break;
        }
        hits += u32::from(unfinished());
        if hits == 4 {
            break;
        }
    }
    assert!(hits > 0, "no kill hit the state half-written");
    place.foil(&["train", "--resume", "killed", "--no-eval"]).ok();
    run.assert_same(&whole);
}

#[test]
fn without_checkpoints_within_an_epoch() {
    let place = Place::with(AT);
    let whole = place.train("whole", &["train.checkpoint_steps=1000"]);
    let mut running =
        place.start(&["train", "tiny.yaml", "train.checkpoint_steps=1000", "--no-eval", "--run-dir", "killed"]);
    assert!(running.wait_for("epoch 2/3"));
    assert!(running.kill());
    let run = place.run("killed");
    // Killed before anything was saved: the same command line starts over.
    fs::create_dir(place.path("early")).unwrap();
    fs::copy(run.file("resolved.yaml"), place.path("early/resolved.yaml")).unwrap();
    for name in ["killed", "early"] {
        place.foil(&["train", "--resume", name, "--no-eval"]).ok();
        place.run(name).assert_same(&whole);
    }
}
