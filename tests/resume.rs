//! Runs that are killed and resumed: they end with the same bits as runs that are not.
//!
//! Here: SIGKILL at moments a program cannot prepare for. Signals that it can answer are in
//! `interrupt.rs`; damaged folders in `trust.rs`.

mod tiny;

use std::fs;
use std::thread::sleep;
use tiny::{AT, CAT, Place, TRADES};

/// Kills a run and its resumptions at seeded moments, lets the last one finish, and compares it
/// with an undisturbed run.
fn killed_and_resumed(yaml: &str, seed: u64) {
    let place = Place::with(yaml);
    let whole = place.train("whole", &[]);
    let began = fs::metadata(whole.file("resolved.yaml")).unwrap().modified().unwrap();
    let took =
        fs::metadata(whole.file("state.safetensors")).unwrap().modified().unwrap().duration_since(began).unwrap();

    let mut kills = Vec::new();
    let mut random = seed;
    let mut start: &[&str] = &["train", "tiny.yaml", "--no-eval", "--run-dir", "killed"];
    for _ in 0..5 {
        let running = place.start(start);
        start = &["train", "--resume", "killed", "--no-eval"];
        // Knuth's MMIX generator; the times lie within the first half of what the whole run takes.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sleep(took.mul_f64((random >> 40) as f64 / (1u64 << 25) as f64));
        if !running.kill() {
            break;
        }
        let run = place.run("killed");
        kills.push(run.file("state.safetensors").exists().then(|| run.position()));
    }
    assert!(kills.iter().flatten().count() >= 2, "too few kills after a checkpoint: {kills:?}");

    place.foil(&["train", "--resume", "killed", "--no-eval"]).ok();
    place.run("killed").assert_same(&whole);
}

#[test]
fn adversarial_training_with_augmentation() {
    killed_and_resumed(AT, 1);
}

// The bf16 copy of the weights is not state: it follows from the fp32 ones.
#[test]
fn adversarial_training_in_bf16() {
    killed_and_resumed(&AT.replace("train: {", "train: { precision: bf16,"), 4);
}

#[test]
fn cat_with_its_mask_network() {
    killed_and_resumed(CAT, 2);
}

#[test]
fn trades_with_schedules() {
    killed_and_resumed(TRADES, 3);
}

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
