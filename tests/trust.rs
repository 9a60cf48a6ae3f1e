//! When something goes wrong: the run stops, says where and what to do, and nothing that was good
//! is lost.
//!
//! Here: losses that are not finite, folders that are damaged, taken or no runs, and disks that are
//! full. Kills are in `resume.rs`, signals in `interrupt.rs`, mistakes in pipeline files elsewhere.

mod tiny;

use std::fs;
use std::path::Path;
use tiny::{AT, Place, Stored, read_tensors};

const TRAIN: &[&str] = &["train", "tiny.yaml", "--no-eval", "--run-dir", "run"];
const RESUME: &[&str] = &["train", "--resume", "run", "--no-eval"];

/// Every file that a failed or refused call must leave alone.
fn files(place: &Place) -> Vec<(String, Vec<u8>)> {
    let run = place.run("run");
    let kept =
        ["resolved.yaml", "metrics.jsonl", "metrics.csv", "best.safetensors", "last.safetensors", "state.safetensors"];
    kept.iter().filter_map(|name| Some((name.to_string(), fs::read(run.file(name)).ok()?))).collect()
}

fn finite(stored: &Stored) -> bool {
    let floats = stored.0.values().filter(|(kind, _, _)| kind == "F32");
    floats
        .into_iter()
        .all(|(_, _, bytes)| bytes.chunks_exact(4).all(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite()))
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_where_it_happens() {
    let place = Place::with(AT);
    // Good in the first epoch, absurd from the second on.
    let rate = "optimizer.lr={ type: multistep, start: 0.05, milestones: [1], gamma: 1e31 }";
    let error = place.foil(&[TRAIN, &[rate, "train.checkpoint_steps=1000"]].concat()).error();
    assert!(error.contains("error: epoch 2, step 2: the loss is not finite"), "{error}");
    assert!(error.contains("the last good checkpoint is run/state.safetensors"), "{error}");
    let run = place.run("run");
    assert!(run.text("log.txt").contains("the loss is not finite"), "{}", run.text("log.txt"));
    assert_eq!((&run.position()["epoch"], run.metrics().len()), (&1.into(), 1));
    for name in ["best.safetensors", "last.safetensors", "state.safetensors"] {
        assert!(finite(&run.tensors(name)), "{name}");
    }
    // The same again from the checkpoint; and with a working rate in the file, the run continues.
    let error = place.foil(RESUME).error();
    assert!(error.contains("epoch 2, step 2"), "{error}");
    fs::write(run.file("resolved.yaml"), run.text("resolved.yaml").replace("1e31", "0.1")).unwrap();
    place.foil(RESUME).ok();
    assert_eq!(run.metrics().len(), 3);
}

#[test]
fn weights_that_are_not_finite_are_not_saved() {
    let place = Place::with(AT);
    // The loss of the first step is finite, the weights after it are not, and a checkpoint is due.
    let error = place.foil(&[TRAIN, &["optimizer.lr=1e60"]].concat()).error();
    assert!(error.contains("epoch 1, step 1: the weights of the model are not finite"), "{error}");
    assert!(error.contains("help: try a smaller learning rate"), "{error}");
    assert!(error.contains("nothing was saved before that"), "{error}");
    assert!(!place.run("run").file("state.safetensors").exists());
}

#[test]
fn a_folder_with_something_in_it_is_not_overwritten() {
    let place = Place::with(AT);
    place.train("run", &["train.epochs=1"]);
    let before = files(&place);
    let error = place.foil(TRAIN).error();
    assert!(error.contains("the run folder run is not empty"), "{error}");
    assert!(error.contains("foil train --resume run") && error.contains("--run-dir DIR"), "{error}");
    assert!(files(&place) == before);
}

#[test]
fn runs_that_start_at_once_take_folders_of_their_own() {
    let place = Place::with(AT);
    let start = |seed| place.start(&["train", "tiny.yaml", "--no-eval", "train.epochs=1", seed]);
    let both = ["seed=1", "seed=2"].map(start);
    let _ = both.map(|running| running.end().ok());
    // The later one is named by its seed, or by a number if the earlier one had said nothing yet.
    let mut names: Vec<_> = place.path("runs").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    let seeds: Vec<bool> =
        names.iter().map(|run| fs::read_to_string(run.join("resolved.yaml")).unwrap().contains("seed: 1")).collect();
    assert_ne!(seeds[0], seeds[1]);
}

#[test]
fn a_file_where_the_folder_should_be() {
    let place = Place::with(AT);
    fs::write(place.path("run"), "precious").unwrap();
    let error = place.foil(TRAIN).error();
    assert!(error.contains("making run: "), "{error}");
    let error = place.foil(&["train", "tiny.yaml", "--run-dir", "run/inside"]).error();
    assert!(error.contains("making run/inside: "), "{error}");
    assert_eq!(fs::read_to_string(place.path("run")).unwrap(), "precious");
}

#[test]
fn what_is_no_run_cannot_be_resumed_or_evaluated() {
    let place = Place::with(AT);
    fs::create_dir(place.path("empty")).unwrap();
    fs::create_dir_all(place.path("all/one")).unwrap();
    fs::write(place.path("all/one/resolved.yaml"), "").unwrap();
    for (folder, why) in [
        ("empty", "is not a run folder: it has no resolved.yaml"),
        ("none", "does not exist"),
        ("tiny.yaml", "is not a run folder: it has no resolved.yaml"),
        ("all", "is not a run folder: it has no resolved.yaml\n  help: runs in it: all/one"),
    ] {
        for args in [["train", "--resume", folder], ["eval", folder, "seed=0"]] {
            let error = place.foil(&args).error();
            assert!(error.contains(&format!("{folder} {why}")), "{error}");
        }
    }
    assert!(place.run("empty").files().is_empty());
}

#[test]
fn a_damaged_state_is_named_and_nothing_is_touched() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=1"]);
    let state = run.file("state.safetensors");
    let whole = fs::read(&state).unwrap();
    let mut elsewhere = whole.clone();
    elsewhere[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let model = fs::read(run.file("last.safetensors")).unwrap(); // a good file, but no state
    for damaged in [&whole[..whole.len() / 2], &whole[..10], &[], &elsewhere, &model] {
        fs::write(&state, damaged).unwrap();
        let before = files(&place);
        let error = place.foil(RESUME).error();
        assert!(error.contains("error: run/state.safetensors is not "), "{error}");
        assert!(error.contains("foil eval run"), "{error}");
        assert!(files(&place) == before);
    }
    // The model is still there, as the message says.
    place.foil(&["eval", "run"]).ok();
    fs::write(&state, whole).unwrap();
    place.foil(RESUME).ok();
}

#[test]
fn a_lost_state_does_not_begin_the_run_anew() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=2"]);
    fs::remove_file(run.file("state.safetensors")).unwrap();
    let before = files(&place);
    let error = place.foil(RESUME).error();
    assert!(error.contains("run/state.safetensors is missing, but this run has done 2 epochs"), "{error}");
    assert!(files(&place) == before);
}

#[test]
fn a_state_of_another_pipeline_is_refused() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=1"]);
    let changed = run.text("resolved.yaml").replace("momentum: 0.9", "momentum: 0").replace("type: sgd", "type: adam");
    let changed: Vec<&str> = changed.lines().filter(|l| !l.contains("momentum") && !l.contains("nesterov")).collect();
    fs::write(run.file("resolved.yaml"), changed.join("\n")).unwrap();
    let before = files(&place);
    let error = place.foil(RESUME).error();
    assert!(error.contains("run/state.safetensors: `model.optimizer."), "{error}");
    assert!(error.contains("was resolved.yaml changed?"), "{error}");
    assert!(files(&place) == before);
}

#[test]
fn a_changed_pipeline_is_said_once() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=1"]);
    assert!(!place.foil(RESUME).ok().err.contains("warning: "));
    fs::write(run.file("resolved.yaml"), run.text("resolved.yaml").replace("epochs: 1", "epochs: 2")).unwrap();
    let said = place.foil(RESUME).ok().err;
    assert!(said.contains("warning: run/resolved.yaml has changed since the run stopped"), "{said}");
    assert!(said.contains("foil train run/resolved.yaml --run-dir DIR"), "{said}");
    assert_eq!(run.metrics().len(), 2);
    assert!(!place.foil(RESUME).ok().err.contains("warning: "));
}

#[test]
fn resuming_a_finished_run_only_evaluates() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=1"]);
    assert!(!run.file("eval.json").exists());
    let before = files(&place);
    let ended = place.foil(&["train", "--resume", "run"]).ok();
    assert!(files(&place) == before);
    assert_eq!(run.json("eval.json")["n"], 50);
    assert!(!ended.err.contains("epoch 1/1"), "{}", ended.err);
    assert!(ended.err.contains("resumed after epoch 1"), "{}", ended.err);
}

#[test]
fn one_process_trains_in_a_folder() {
    let place = Place::with(AT);
    let running = place.start(&[TRAIN, &["train.epochs=1000"]].concat());
    let error = place.foil(RESUME).error();
    assert!(error.contains("another process (pid ") && error.contains(") is training in run"), "{error}");
    assert!(running.kill());
    // The lock goes with its process, however that ends.
    let second = place.start(RESUME);
    assert!(second.kill());
}

/// The disk is full: simulated by a limit on the size of files, which the metrics stay below and
/// checkpoints do not.
#[cfg(unix)]
#[test]
fn a_full_disk_is_named_and_leaves_the_last_checkpoint() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=1"]);
    fs::write(run.file("resolved.yaml"), run.text("resolved.yaml").replace("epochs: 1", "epochs: 2")).unwrap();
    let before = read_tensors(&run.file("state.safetensors"));
    let line = format!("ulimit -f 1024; exec {} train --resume run --no-eval", env!("CARGO_BIN_EXE_foil"));
    let output = place.command("sh", &["-c", &line]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("run/state.safetensors: File too large") && error.contains("last good checkpoint is"),
        "{error}"
    );
    assert!(!error.contains("panicked"), "{error}");
    assert!(read_tensors(&run.file("state.safetensors")) == before);
    assert!(!run.files().iter().any(|name| name.ends_with(".tmp")), "{:?}", run.files());
    // With room again, it resumes.
    place.foil(RESUME).ok();
    assert_eq!(run.metrics().len(), 2);
}

/// libtorch ends the process when it cannot write a program, so it does not write files.
#[cfg(unix)]
#[test]
fn a_disk_too_small_for_an_export_is_named() {
    let place = Place::with(AT);
    place.train("run", &["train.epochs=1"]);
    for format in ["pt", "safetensors", "torchscript"] {
        let foil = env!("CARGO_BIN_EXE_foil");
        let line = format!("ulimit -f 16; exec {foil} export run --format {format} --out out.{format}");
        let output = place.command("sh", &["-c", &line]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}: {error}");
        assert!(error.contains(&format!("out.{format}: File too large")), "{format}: {error}");
        assert!(!place.path(&format!("out.{format}")).exists());
    }
    place.foil(&["export", "run", "--format", "torchscript", "--out", "whole.pt"]).ok();
    let mut names = fs::read_dir(place.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.any(|name| name.to_string_lossy().ends_with(".tmp")));
}

/// As above, in the first epoch: nothing stands, and the epoch is the one whose checkpoint it was,
/// however many were to follow.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_at_once_leaves_nothing_and_says_so() {
    let place = Place::with(AT);
    for epochs in [1, 1000] {
        let line = format!(
            "ulimit -f 1024; exec {} train tiny.yaml train.epochs={epochs} train.checkpoint_steps=null --run-dir run_{epochs}",
            env!("CARGO_BIN_EXE_foil")
        );
        let output = place.command("sh", &["-c", &line]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("error: epoch 1, after its last step: run_{epochs}/")), "{error}");
        assert!(error.contains("File too large") && error.contains("nothing was saved before that"), "{error}");
    }
}

#[test]
fn weights_that_do_not_fit_are_listed() {
    let place = Place::with(AT);
    place.train("run", &["train.epochs=1", "train.batch_size=80"]);
    let error = place.foil(&["eval", "run/best.safetensors", "data=cifar10"]).error();
    assert!(error.contains("best.safetensors") && error.contains("`0.weight`"), "{error}");
    assert!(!place.run("run").file("eval.json").exists());
}

#[cfg(unix)]
#[test]
fn a_terminal_that_went_away_does_not_end_the_run() {
    let place = Place::with(AT);
    let line = format!("{} train tiny.yaml --no-eval --run-dir run 2>&1 | true", env!("CARGO_BIN_EXE_foil"));
    assert!(place.command("sh", &["-c", &line]).output().unwrap().status.success());
    assert_eq!(place.run("run").metrics().len(), 3);
}

/// Weights that fit, but that another method trained.
#[test]
fn weights_of_another_method_are_told() {
    let place = Place::with(AT);
    place.train("run", &["train.epochs=1"]);
    place.train("other", &["train.epochs=1", "name=other", "loss=alp"]);
    let evaluate = ["eval", "run", "evaluate=[natural]", "--trust", "off"];
    assert!(!place.foil(&evaluate).ok().err.contains("warning"));
    fs::copy(place.path("other/best.safetensors"), place.path("run/best.safetensors")).unwrap();
    let said = place.foil(&evaluate).ok().err;
    let warning = "run/best.safetensors is of other (pgd + alp), but resolved.yaml beside it is of pgd + at";
    assert!(said.contains(&format!("warning: {warning}")), "{said}");
}

/// What would only be noticed at the end is said at the start: these attacks would take hours.
#[test]
fn a_record_that_cannot_be_written_is_told_before_anything_is_attacked() {
    let place = Place::with(AT);
    place.train("run", &["train.epochs=1"]);
    let error = place.foil(&["eval", "run", "attacks.pgd2.steps=5000000", "--out", "gone/record.json"]).error();
    assert!(error.contains("the record could not be written: gone/record.json: No such file"), "{error}");
    assert!(error.contains("help: --out FILE puts it elsewhere"), "{error}");
}

#[test]
fn a_fault_of_the_data_leaves_no_folder() {
    let place = Place::with(AT);
    fs::create_dir(place.path("data")).unwrap();
    for file in
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
    {
        fs::write(place.path("data").join(file), "damaged").unwrap();
    }
    let data = ["data=mnist", "data.path=data"];
    let error = place.foil(&[&["train", "tiny.yaml"], &data[..]].concat()).error();
    assert!(error.contains("train-images-idx3-ubyte"), "{error}");
    assert!(!place.path("runs").exists() || fs::read_dir(place.path("runs")).unwrap().next().is_none());
}

/// 41 images in batches of 20 leave one, with which batch norm over vectors does nothing.
#[test]
fn a_last_batch_of_one_is_named_and_can_be_left_out() {
    let place = Place::with(AT);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/torchscript/tests/vector_norm.pt");
    let model = format!("model={{ type: torchscript, file: {} }}", program.display());
    let train = ["images.train_limit=41", "train.epochs=1", "train.checkpoint_steps=null", &model];
    let error = place.foil(&[TRAIN, &train].concat()).error();
    assert!(error.contains("epoch 1, step 3: this batch has one image, and batch norm over vectors"), "{error}");
    assert!(error.contains("help: the last batch of an epoch holds the rest: `train: { drop_last: true }`"), "{error}");
    let run = place.train("dropped", &[&train[..], &["train.drop_last=true"]].concat());
    assert_eq!((run.metrics().len(), &run.metrics()[0]["step"]), (1, &2.into()));
    let error = place.foil(&["check", "tiny.yaml", "train.drop_last=true", "train.batch_size=81"]).error();
    assert!(error.contains("`train.drop_last` leaves nothing of 80 training images in batches of 81"), "{error}");
}

/// What a killed evaluation was writing.
#[cfg(target_os = "linux")]
#[test]
fn an_evaluation_sweeps_what_killed_ones_left() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=1"]);
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    for name in ["eval.json", "eval.images.csv", "eval.partial.json", "best.safetensors"] {
        fs::write(run.file(&format!(".{name}.{}-7.tmp", ended.id())), "half").unwrap();
    }
    place.foil(&["eval", "run", "--trust", "off"]).ok();
    assert!(!run.files().iter().any(|name| name.ends_with(".tmp")), "{:?}", run.files());
}

/// Links in a run's folder lead anywhere; nothing is written through them.
#[cfg(unix)]
#[test]
fn links_in_a_folder_are_not_written_through() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=1"]);
    fs::write(run.file("resolved.yaml"), run.text("resolved.yaml").replace("epochs: 1", "epochs: 2")).unwrap();
    fs::write(place.path("precious"), "precious").unwrap();
    for name in ["log.txt", "run.lock"] {
        fs::remove_file(run.file(name)).unwrap();
        std::os::unix::fs::symlink("../precious", run.file(name)).unwrap();
        let error = place.foil(RESUME).error();
        assert!(error.contains(&format!("run/{name}")), "{error}");
        fs::remove_file(run.file(name)).unwrap();
    }
    for name in ["eval.json", "eval.heartbeat.json", "heartbeat.json.tmp", "metrics.csv", "last.safetensors"] {
        let _ = fs::remove_file(run.file(name));
        std::os::unix::fs::symlink("../precious", run.file(name)).unwrap();
    }
    place.foil(&["train", "--resume", "run"]).ok();
    assert_eq!(fs::read_to_string(place.path("precious")).unwrap(), "precious");
}

/// A rename would put a file where the device was.
#[cfg(unix)]
#[test]
fn a_device_is_no_place_for_a_record() {
    let place = Place::with(AT);
    let error = place.foil(&["eval", "run", "--out", "/dev/null"]).error();
    assert!(error.contains("--out /dev/null is not a file"), "{error}");
    use std::os::unix::fs::FileTypeExt;
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}
