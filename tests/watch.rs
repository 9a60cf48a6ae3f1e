//! `foil watch` where standard output is not a terminal: plain lines, and nothing else.

mod tiny;

use std::fs;
use std::time::{Duration, Instant};
use tiny::{AT, Place};

#[test]
fn lines_while_a_run_trains_and_after() {
    let place = Place::with(AT);
    let err = place.foil(&["watch"]).error();
    assert!(err.contains("there is no run in runs"), "{err}");

    let mut running = place.start(&["train", "tiny.yaml", "train.epochs=500", "--run-dir", "runs/a"]);
    assert!(running.wait_for("epoch 2/500"));
    // The first beat tells no pace, the second does.
    let beat = || fs::read_to_string(place.path("runs/a/heartbeat.json")).unwrap_or_default();
    while !beat().contains("\"seconds_left\":") || beat().contains("\"seconds_left\":null") {
        assert!(running.wait_for("epoch "), "it ended before its second beat");
    }
    let now = place.foil(&["watch", "--once"]).ok().out;
    assert!(now.starts_with("tiny: training, ") && now.contains(" of 500") && now.contains("loss "), "{now}");
    assert!(now.contains("natural ") && now.contains("pgd2 ") && now.trim_end().ends_with(" left"), "{now}");
    assert_eq!((now.lines().count(), now.contains('\u{1b}')), (1, false), "{now}");
    let beat = place.run("runs/a").json("heartbeat.json");
    assert_eq!((&beat["epochs"], &beat["steps"], &beat["device"]), (&500.into(), &4.into(), &"cpu".into()), "{beat}");
    assert!(beat["values"]["train_loss"].is_number(), "{beat}");

    running.signal("TERM");
    assert_eq!(running.end().code, Some(130));
    assert!(!place.path("runs/a/heartbeat.json").exists());
    let after = place.foil(&["watch", "runs/a"]).ok().out;
    assert!(after.starts_with("tiny: stopped, ") && after.contains(" of 500 epochs"), "{after}");
}

#[test]
fn it_follows_until_nothing_trains() {
    let place = Place::with(AT);
    let mut running = place.start(&["train", "tiny.yaml", "train.epochs=15", "--run-dir", "runs/a"]);
    running.wait_for("epoch 1/15");
    let followed = place.foil(&["watch", "runs"]).ok().out;
    running.end();
    let lines: Vec<&str> = followed.lines().collect();
    assert!(lines[0].starts_with("tiny: training"), "{followed}");
    assert!(lines.last().is_some_and(|line| line.starts_with("tiny: evaluated, 15 of 15 epochs")), "{followed}");
    // A killed process leaves its last beat, which says nothing of now.
    fs::write(place.path("runs/a/heartbeat.json"), "{\"pid\": 1").unwrap();
    assert!(place.foil(&["watch"]).ok().out.starts_with("tiny: evaluated"));
    // A copy has the same name and seed, and is told apart by its folder; another seed by the seed.
    fs::create_dir(place.path("runs/b")).unwrap();
    for name in ["resolved.yaml", "metrics.jsonl", "state.safetensors", "eval.json", "best.safetensors"] {
        fs::copy(place.path(&format!("runs/a/{name}")), place.path(&format!("runs/b/{name}"))).unwrap();
    }
    let both = place.foil(&["watch", "--once"]).ok().out;
    assert!(both.contains("tiny (runs/a): evaluated") && both.contains("tiny (runs/b): evaluated"), "{both}");
    let seed = fs::read_to_string(place.path("runs/b/resolved.yaml")).unwrap().replace("seed: 7", "seed: 8");
    fs::write(place.path("runs/b/resolved.yaml"), seed).unwrap();
    let both = place.foil(&["watch", "--once"]).ok().out;
    assert!(both.contains("tiny (seed 7): ") && both.contains("tiny (seed 8): "), "{both}");
}

/// An evaluation reports the current attack, its stage and its progress; a killed one says nothing
/// any more.
#[test]
fn an_evaluation_is_watched_too() {
    let place = Place::with(&AT.replace("epochs: 3", "epochs: 1"));
    place.train("runs/a", &[]);
    let pgd = "{ type: pgd, eps: 0.01, alpha: 0.01, steps: 1 }";
    let chain =
        format!("attacks.w={{ type: worst_of, attacks: [{pgd}, {{ type: square, eps: 0.01, n_queries: 1000 }}] }}");
    let running = place.begin(&["eval", "runs/a", "evaluate=[natural,w]", &chain, "train.eval_batch_size=2"]);
    let file = place.path("runs/a/eval.heartbeat.json");
    let (started, beat) = (Instant::now(), || fs::read_to_string(&file).unwrap_or_default());
    while !beat().contains("\"square\"") && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let now = place.foil(&["watch", "--once"]).ok().out;
    assert!(now.starts_with("tiny: evaluating, 1 of 1 epochs, attack 2 of 2: w square, "), "{now}");
    assert!(now.contains(" images, accuracy ") && now.lines().count() == 1, "{now}");
    assert!(running.kill(), "it ended before it could be killed");
    let after = place.foil(&["watch", "--once"]).ok().out;
    assert!(file.exists() && after.starts_with("tiny: trained, 1 of 1 epochs"), "{after}");
    place.foil(&["eval", "runs/a", "--trust", "off"]).ok();
    assert!(!file.exists());
}
