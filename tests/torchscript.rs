//! TorchScript files in pipelines: found from the config's folder, carried into the run's, trained
//! bit for bit.
//!
//! The files are made by `plugins/torchscript/tests/make.py`, where what they compute is tested.

mod tiny;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tiny::Place;

const PIPELINE: &str = "
name: tiny
seed: 7
device: cpu
data: mnist_subset
images: { train_limit: 80, test_limit: 50 }
model: { type: torchscript, file: nets/tiny.pt }
attack: { type: pgd, eps: 0.3, alpha: 0.1, steps: 2, start: uniform, mode: train }
loss: { type: torchscript, file: nets/trades.pt }
optimizer: { type: sgd, lr: 0.05, momentum: 0.9, weight_decay: 0.0005 }
train: { epochs: 3, batch_size: 20, eval_batch_size: 50, checkpoint_steps: 1 }
attacks: { pgd2: { type: pgd, eps: 0.1, alpha: 0.05, steps: 2, start: uniform } }
select: natural + pgd2
evaluate: [natural, pgd2]
";

fn place() -> Place {
    let place = Place::with(PIPELINE);
    fs::create_dir(place.path("nets")).unwrap();
    for file in ["tiny.pt", "trades.pt"] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/torchscript/tests").join(file);
        fs::copy(source, place.path("nets").join(file)).unwrap();
    }
    place
}

#[test]
fn killed_and_resumed_it_ends_with_the_same_bits() {
    let place = place();
    let whole = place.train("whole", &[]);
    let again = place.train("again", &[]);
    again.assert_same(&whole);

    let running = place.start(&["train", "tiny.yaml", "--no-eval", "--run-dir", "killed"]);
    let started = Instant::now();
    while !place.path("killed/state.safetensors").exists() && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(running.kill(), "it ended before it was killed");
    // What the pipeline named is not needed any more.
    fs::remove_dir_all(place.path("nets")).unwrap();
    place.foil(&["train", "--resume", "killed", "--no-eval"]).ok();
    place.run("killed").assert_same(&whole);

    let resolved = whole.text("resolved.yaml");
    let sha256 = foil::hash::file_hash(&place.path("whole/model.pt")).unwrap();
    for part in ["file: model.pt", "file: loss.pt", &format!("sha256: {sha256}")] {
        assert!(resolved.contains(part), "{resolved}");
    }
    let names: Vec<String> = whole.tensors("best.safetensors").0.into_keys().collect();
    assert!(names.contains(&"norm.running_var".into()) && names.contains(&"inner.0.weight".into()), "{names:?}");
    assert!(whole.text("metrics.jsonl").contains("train_robust"), "{}", whole.text("metrics.jsonl"));

    // A run's folder may go elsewhere, and its files may not change.
    fs::rename(place.path("whole"), place.path("moved")).unwrap();
    place.foil(&["eval", "moved"]).ok();
    fs::copy(place.path("moved/loss.pt"), place.path("moved/model.pt")).unwrap();
    let error = place.foil(&["eval", "moved"]).error();
    assert!(error.contains("moved/model.pt has the SHA-256") && error.contains("resolved.yaml:"), "{error}");
}

#[test]
fn comparisons_and_sweeps_carry_the_files_too() {
    let place = place();
    fs::create_dir_all(place.path("deep/er")).unwrap();
    let child =
        "extends: ../../tiny.yaml\nname: child\nmodel: { file: here.pt }\ntrain: { epochs: 1 }\nevaluate: [natural]\n";
    fs::write(place.path("deep/er/child.yaml"), child).unwrap();
    fs::copy(place.path("nets/tiny.pt"), place.path("deep/er/here.pt")).unwrap();
    place.foil(&["compare", "deep/er/child.yaml"]).ok();
    assert!(place.path("runs/child/model.pt").exists() && place.path("runs/child/loss.pt").exists());
    let again = place.foil(&["compare", "deep/er/child.yaml"]).ok();
    assert!(again.err.contains("already done"), "{}", again.err);
    let rates = "sweep={ optimizer.lr: [0.01, 0.02] }";
    let swept = place.foil(&["sweep", "deep/er/child.yaml", rates, "--dir", "swept"]).ok();
    assert!(swept.out.contains("2 of 2 runs"), "{}{}", swept.out, swept.err);
}

#[test]
fn imported_weights_bring_the_files_of_their_config() {
    let place = place();
    place.train("run", &["train.epochs=1"]);
    place.foil(&["export", "run", "--out", "weights.pth"]).ok();
    // The file itself does not hold its network.
    let error = place.foil(&["import", "weights.pth", "--out", "alone"]).error();
    assert!(
        error.contains("weights of a network whose program is a separate file") && error.contains("--config"),
        "{error}"
    );
    place.foil(&["import", "weights.pth", "--config", "run/resolved.yaml", "--out", "again"]).ok();
    fs::create_dir(place.path("conf")).unwrap();
    fs::rename(place.path("nets"), place.path("conf/nets")).unwrap();
    fs::rename(place.path("tiny.yaml"), place.path("conf/tiny.yaml")).unwrap();
    place.foil(&["import", "weights.pth", "--config", "conf/tiny.yaml", "--out", "out"]).ok();
    fs::remove_dir_all(place.path("conf")).unwrap();
    let evaluated = |run: &str| {
        place.foil(&["eval", run, "--trust", "off"]).ok();
        place.run(run).json("eval.json")["entries"][1]["accuracy"].clone()
    };
    assert_eq!(evaluated("out"), evaluated("run"));
    assert_eq!(evaluated("again"), evaluated("run"));
    assert!(place.run("out").text("resolved.yaml").contains("file: model.pt"));
}

#[test]
fn paths_are_meant_from_where_they_are_written() {
    let place = place();
    fs::create_dir_all(place.path("deep/er")).unwrap();
    fs::write(place.path("deep/er/child.yaml"), "extends: ../../tiny.yaml\nseed: 8\n").unwrap();
    place.foil(&["check", "deep/er/child.yaml"]).ok();
    // On the command line, from here.
    fs::copy(place.path("nets/tiny.pt"), place.path("here.pt")).unwrap();
    place.foil(&["check", "deep/er/child.yaml", "model.file=here.pt"]).ok();
    let error = place.foil(&["check", "deep/er/child.yaml", "model.file=nets/gone.pt"]).error();
    assert!(
        error.contains("`model` cannot be built: reading ") && error.contains("nets/gone.pt: No such file"),
        "{error}"
    );
    let error = place.foil(&["check", "tiny.yaml", "model.file=5"]).error();
    assert!(error.contains("`model.file` is 5, but takes text"), "{error}");
}
