//! Ctrl-C and SIGTERM: the run saves its state, says how to resume, and ends with exit code 130.

#![cfg(unix)]

mod tiny;

use std::thread::sleep;
use std::time::{Duration, Instant};
use tiny::{AT, Place};

const TRAIN: &[&str] = &["train", "tiny.yaml", "--no-eval", "--run-dir", "run"];

#[test]
fn a_signal_saves_and_resuming_equals_the_undisturbed_run() {
    let place = Place::with(AT);
    // Without saving within epochs, what is on disk is what the signal made it save.
    let rarely = &["train.checkpoint_steps=1000", "train.epochs=4"];
    let whole = place.train("whole", rarely);
    // Ctrl-C, `kill`, a closed terminal, Slurm's warning.
    for signal in ["INT", "TERM", "HUP", "USR1"] {
        let folder = format!("runs/{signal}");
        let running = place.start(&[&["train", "tiny.yaml", "--no-eval", "--run-dir", &folder], &rarely[..]].concat());
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(130), "{}", ended.err);
        let said = format!("stopped and saved; resume with: foil train --resume {folder}\n");
        assert!(ended.err.ends_with(&said), "{}", ended.err);
        let run = place.run(&folder);
        assert!(run.position()["epoch"].as_u64().unwrap() < 4, "{}", run.position());
        assert!(run.text("log.txt").contains("Stopped"), "{}", run.text("log.txt"));

        place.foil(&["train", "--resume", &folder, "--no-eval"]).ok();
        run.assert_same(&whole);
    }
}

#[test]
fn it_does_not_wait_for_an_epochs_measurements() {
    let place = Place::with(AT);
    // Two quick steps at different rates, then ten slow batches of measurement.
    let rate = "optimizer.lr={ type: multistep, start: 0.05, milestones: [0.7], count: steps }";
    let slow = [
        "images.train_limit=40",
        "train.epochs=1",
        "train.eval_batch_size=5",
        "attacks.pgd2.steps=40",
        "train.checkpoint_steps=1",
        rate,
    ];
    let whole = place.train("whole", &slow);
    let running = place.start(&[TRAIN, &slow].concat());
    // The first of the two steps has been saved; the second takes milliseconds, the measurements
    // seconds.
    let started = Instant::now();
    while !place.path("run/state.safetensors").exists() && started.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(500));
    running.signal("INT");
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    let run = place.run("run");
    assert_eq!((&run.position()["epoch"], &run.position()["step"]), (&0.into(), &2.into()));

    place.foil(&["train", "--resume", "run", "--no-eval"]).ok();
    run.assert_same(&whole);
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let place = Place::with(AT);
    let running = place.start(&[TRAIN, &["attack.steps=50000"]].concat());
    sleep(Duration::from_secs(2)); // into the first step, which takes minutes
    running.signal("INT");
    sleep(Duration::from_millis(300)); // two signals of a kind at once are one
    let second = Instant::now();
    running.signal("INT");
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert!(!ended.err.contains("saved"), "{}", ended.err);
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
}

/// A closing terminal hangs up twice, the system and the shell; under `nohup` it says nothing.
#[test]
fn a_terminal_that_closes_is_one_signal_and_under_nohup_none() {
    let place = Place::with(AT);
    let long = ["train.checkpoint_steps=1000", "train.epochs=40"];
    let running = place.start(&[TRAIN, &long].concat());
    running.signal("HUP");
    running.signal("HUP");
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert!(ended.err.contains("stopped and saved"), "{}", ended.err);

    let line = format!(
        "trap '' HUP; {} train tiny.yaml --no-eval --run-dir kept 2>/dev/null & foil=$!; sleep 1; kill -HUP $foil; wait $foil",
        env!("CARGO_BIN_EXE_foil")
    );
    assert!(place.command("sh", &["-c", &line]).status().unwrap().success());
    assert_eq!(place.run("kept").metrics().len(), 3);
}

#[test]
fn a_signal_in_the_final_evaluation_ends_it() {
    let place = Place::with(AT);
    let slow = &["train.epochs=1", "select=natural", "attacks.pgd2.steps=50000"];
    let mut running = place.start(&[&["train", "tiny.yaml", "--run-dir", "run"], &slow[..]].concat());
    assert!(running.wait_for("natural: 50 images in "));
    running.signal("INT");
    assert_eq!(running.end().code, Some(130));
    assert!(!place.run("run").file("eval.json").exists());
    // Nothing is lost.
    place.foil(&["eval", "run", "attacks.pgd2.steps=1"]).ok();
}
