//! Runs that are killed and resumed: they end with the same bits as runs that are not.
//!
//! Here: SIGKILL at moments that are hard to hit; at random ones, with every method, in
//! `campaign/`. Signals that the program can answer are in `interrupt.rs`; damaged folders in
//! `trust.rs`.

mod tiny;

use std::fs;
use tiny::{AT, Place};

/// AWP, a teacher that learns, and an average of every update; and SAM with an average of epochs
/// whose statistics are estimated again.
const AWP: &str = "
update: { type: awp, gamma: 0.01 }
average: { type: ema, decay: 0.9, warm_up: 0.1 }
loss: { type: lbgat, beta: 1 }
networks: { teacher: { model: small_cnn, optimizer: { type: adamw, lr: 0.001, no_decay: [bias] } } }
";
const SAM: &str = "
update: { type: sam, rho: 0.05 }
average: { type: swa, start: 1 }
model: { type: wide_resnet, depth: 10, width: 1, activation: silu }
batch_norm: { momentum: 0.01 }
train: { clip_grad: 1 }
";

/// Losses that keep something: of each class and epoch, and of each image.
const DKL: &str = "loss: { type: dkl, alpha: 1, beta: 5 }";
const SELF_ADAPTIVE: &str = "loss: { type: self_adaptive, beta: 1, start: 1 }\nupdate: { type: awp, gamma: 0.01 }";

/// The tiny run with these keys in the place of its own.
fn with(keys: &str) -> String {
    let mut whole: serde_yaml::Mapping = serde_yaml::from_str(AT).unwrap();
    for (key, value) in serde_yaml::from_str::<serde_yaml::Mapping>(keys).unwrap() {
        match (whole.get_mut(&key), value) {
            (Some(serde_yaml::Value::Mapping(own)), serde_yaml::Value::Mapping(new)) if key == "train" => {
                own.extend(new)
            }
            (_, value) => drop(whole.insert(key, value)),
        }
    }
    serde_yaml::to_string(&whole).unwrap()
}

#[test]
fn with_averages_moved_weights_and_other_networks() {
    for keys in [AWP, SAM] {
        let place = Place::with(&with(keys));
        let whole = place.train("whole", &[]);
        let mut running = place.start(&["train", "tiny.yaml", "--no-eval", "--run-dir", "killed"]);
        assert!(running.wait_for("epoch 2/3"));
        assert!(running.kill());
        let run = place.run("killed");
        place.foil(&["train", "--resume", "killed", "--no-eval"]).ok();
        run.assert_same(&whole);

        // What is saved is the average; the state has the trained weights too.
        let (state, _) = run.tensors("state.safetensors");
        let flat = |name: &str| &state[name].2;
        assert_ne!(flat("model.flat"), flat("average.flat"));
        let (last, card) = run.tensors("last.safetensors");
        let average = flat("average.flat");
        let first = last.iter().find(|(name, _)| name.ends_with("weight")).unwrap().1;
        assert!(average.windows(4).any(|number| number == &first.2[..4]), "the saved weights are not the average's");
        let method = &card["foil.method"];
        assert!(method.contains(" + ema") || method.contains(" + swa"), "{method}");
    }
}

#[test]
fn with_losses_that_keep_something() {
    for (keys, kept) in [(DKL, "loss.classes"), (SELF_ADAPTIVE, "loss.labels")] {
        let place = Place::with(&with(keys));
        let whole = place.train("whole", &[]);
        let mut running = place.start(&["train", "tiny.yaml", "--no-eval", "--run-dir", "killed"]);
        assert!(running.wait_for("epoch 2/3"));
        assert!(running.kill());
        place.foil(&["train", "--resume", "killed", "--no-eval"]).ok();
        place.run("killed").assert_same(&whole);
        let (state, _) = whole.tensors("state.safetensors");
        assert!(state[kept].2.iter().any(|byte| *byte != 0), "{kept} was never written");
    }
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
