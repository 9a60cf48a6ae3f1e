//! What a run leaves in its folder: every file that is promised, each saying the same as the
//! others.

mod tiny;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use tiny::{AT, CAT, Place, Run};

#[test]
fn every_file_is_there() {
    let place = Place::with(AT);
    place.foil(&["train", "tiny.yaml", "--run-dir", "run", "train.epochs=1"]).ok();
    let mut files = place.run("run").files();
    files.retain(|name| !name.starts_with("events.out.tfevents."));
    let promised = [
        "best.safetensors",
        "eval.images.csv",
        "eval.json",
        "last.safetensors",
        "log.txt",
        "metrics.csv",
        "metrics.jsonl",
    ];
    assert_eq!(files, [&promised[..], &["resolved.yaml", "run.lock", "state.safetensors"]].concat());
}

#[test]
fn a_mask_network_is_kept_beside_its_model() {
    let place = Place::with(CAT);
    let run = place.train("run", &["train.epochs=1"]);
    let (mask, _) = run.tensors("best_mask.safetensors");
    let state = run.tensors("state.safetensors").0;
    // The only epoch is the best one, so the mask is the one in the state, as names instead of one
    // flat tensor.
    let bytes = |pick: &dyn Fn(&str) -> bool, of: &BTreeMap<String, (String, Vec<usize>, Vec<u8>)>| -> usize {
        of.iter()
            .filter(|(name, _)| pick(name))
            .map(|(_, (kind, _, bytes))| usize::from(kind == "F32") * bytes.len())
            .sum()
    };
    let in_state = |name: &str| name.starts_with("attack.") && !name.contains("optimizer");
    assert_eq!(bytes(&|_| true, &mask), bytes(&in_state, &state));
}

#[test]
fn a_mask_network_learns_as_the_model_does_unless_told_otherwise() {
    let place = Place::with(CAT);
    let mask = |folder: &str, more: &[&str]| {
        let short = ["train.epochs=1", "optimizer.lr=0.002"];
        place.train(folder, &[&short[..], more].concat()).tensors("best_mask.safetensors").0
    };
    let told = mask("told", &["attack.optimizer.lr=0.002"]);
    assert_eq!(mask("untold", &["attack.optimizer=null"]), told);
    assert_ne!(mask("otherwise", &[]), told);
}

#[test]
fn the_attack_that_is_calibrated_learns_too() {
    let place = Place::with(CAT);
    let inner = "attack.inner={ type: calibrated, inner: { type: pgd, eps: 0.3, alpha: 0.1, steps: 1 }, mask: mask_cnn, beta1: 0.3 }";
    let state = |epochs: &str| {
        let run = place.train(epochs, &[inner, &format!("train.epochs={epochs}"), "optimizer.lr=0.001"]);
        let mut state = run.tensors("state.safetensors").0;
        state.retain(|name, _| name.starts_with("attack.inner.mask."));
        state
    };
    let (once, twice) = (state("1"), state("2"));
    assert!(!once.is_empty() && once.keys().eq(twice.keys()));
    assert_ne!(once, twice);
}

#[test]
fn a_mask_that_calibrates_nothing_is_told_once() {
    let place = Place::with(CAT);
    let told = |folder: &str, rate: &str| {
        let run = place.train(folder, &["train.epochs=3", &format!("attack.optimizer.lr={rate}")]);
        run.text("log.txt").matches("the mask is nearly ").count()
    };
    // At such a rate the sigmoid is flat after one step.
    assert_eq!(told("flat", "100"), 1);
    assert_eq!(told("steady", "0.0001"), 0);
}

#[test]
fn a_run_may_begin_with_weights_of_another() {
    let place = Place::with(AT);
    let first = place.train("first", &["train.epochs=1"]);
    let weights = |run: &Run| run.tensors("best.safetensors").0;
    // At this rate nothing moves.
    let still = ["init=first/best.safetensors", "train.epochs=1", "optimizer.lr=1e-30"];
    let second = place.train("second", &still);
    assert_eq!(weights(&second), weights(&first));
    assert_ne!(weights(&place.train("drawn", &still[1..])), weights(&first));

    // The file is the run's own from then on, and needed no more once a state is saved.
    fs::remove_file(place.path("first/best.safetensors")).unwrap();
    assert!(second.text("resolved.yaml").contains("init: init.safetensors"));
    let (before, longer) = (second.text("resolved.yaml"), "epochs: 2");
    fs::write(place.path("second/resolved.yaml"), before.replace("epochs: 1", longer)).unwrap();
    place.foil(&["train", "--resume", "second", "--no-eval"]).ok();
    assert_eq!(place.run("second").metrics().len(), 2);
    place.foil(&["eval", "second", "evaluate=[natural]", "--trust", "off"]).ok();

    let error = place.foil(&["train", "--resume", "second", "train.epochs=3"]).error();
    assert!(
        error.contains("keeps its pipeline; `train.epochs=3` cannot be given")
            && error.contains("init=second/last.safetensors"),
        "{error}"
    );
    let error = place.foil(&["check", "tiny.yaml", "init=first/best.safetensors"]).error();
    assert!(error.contains("`init` is") && error.contains("first/best.safetensors, which is not a file"), "{error}");
    let error = place
        .foil(&["train", "tiny.yaml", "init=second/best.safetensors", "model=lenet5_madry", "--run-dir", "other"])
        .error();
    assert!(error.contains("`init`: ") && error.contains("a checkpoint of the same model"), "{error}");
    assert!(!place.path("other").exists());
}

#[test]
fn the_resolved_pipeline_is_the_one_that_ran() {
    let place = Place::with(AT);
    place.foil(&["train", "tiny.yaml", "--run-dir", "run", "train.epochs=1", "attack.steps=1"]).ok();
    let run = place.run("run");
    let hash = |args: &[&str]| place.foil(args).ok().out.split_whitespace().nth(1).unwrap().to_string();
    let resolved = hash(&["check", "run/resolved.yaml"]);
    assert_eq!(resolved, hash(&["check", "tiny.yaml", "train.epochs=1", "attack.steps=1"]));
    assert_ne!(resolved, hash(&["check", "tiny.yaml", "train.epochs=1"]));
    let stored = &run.tensors("best.safetensors").1["foil.config_hash"];
    assert!(stored.len() == 64 && stored.starts_with(&resolved), "{stored} {resolved}");
    assert_eq!(run.json("eval.json")["config_hash"], **stored);
    // A run of the resolved file is the same run.
    place.foil(&["train", "run/resolved.yaml", "--run-dir", "again", "--no-eval"]).ok();
    place.run("again").assert_same(&run);
}

#[test]
fn the_metrics_agree_with_each_other() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.eval_every=2"]);
    let rows = run.metrics();
    let csv = run.text("metrics.csv");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next().unwrap();
    assert_eq!(names[..2], ["epoch", "step"]);
    assert_eq!(rows.len(), 3);
    for (epoch, row) in (1..).zip(&rows) {
        let fields = lines.next().unwrap();
        assert_eq!((&row["epoch"], &row["step"]), (&Value::from(epoch), &Value::from(4 * epoch)));
        for (name, field) in names.iter().zip(&fields) {
            let value = row.get(name).map_or(String::new(), |number| match number.as_u64() {
                Some(whole) => whole.to_string(),
                None => format!("{:?}", number.as_f64().unwrap()),
            });
            assert_eq!(*field, value, "{name} of epoch {epoch}");
        }
        // Measured every second epoch, and after the last.
        assert_eq!(row.get("natural").is_some(), epoch >= 2, "{row}");
    }
    assert!(lines.next().is_none());
    let loss = rows[0]["train_loss"].as_f64().unwrap();
    assert!((1.5..3.0).contains(&loss), "the first epoch's loss is about ln 10, not {loss}");
}

/// The best epoch by `natural + pgd2`, as the metrics have it: the first of the largest.
fn best_of(run: &Run) -> (u64, f64) {
    let number = |row: &Value, name: &str| row[name].as_f64().unwrap();
    let scores = run
        .metrics()
        .into_iter()
        .map(|row| (row["epoch"].as_u64().unwrap(), number(&row, "natural") + number(&row, "pgd2")));
    scores.fold((0, f64::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best })
}

#[test]
fn the_best_epoch_by_the_rule_is_kept_with_its_card() {
    let place = Place::with(AT);
    // A rate that teaches for three epochs and then ruins: the best epoch is neither the first nor
    // the last.
    let rate = "optimizer={ type: adam, lr: { type: multistep, start: 0.003, milestones: [3], gamma: 30 } }";
    let teach = ["attack.steps=0", "augment=null", "images.train_limit=160", "train.checkpoint_steps=1000", rate];
    let run = place.train("run", &[&teach[..], &["train.epochs=4"]].concat());
    let (epoch, score) = best_of(&run);
    assert!((2..4).contains(&epoch), "{}", run.text("metrics.jsonl"));
    let held = &run.position()["best"]["held"];
    assert_eq!((&held["epoch"], &held["score"]), (&epoch.into(), &score.into()));

    let (weights, card) = run.tensors("best.safetensors");
    let of_card = |field: &str| card[&format!("foil.{field}")].as_str();
    assert_eq!(of_card("epochs"), epoch.to_string());
    let known = [
        ("name", "tiny"),
        ("architecture", "small_cnn"),
        ("dataset", "mnist_subset"),
        ("seed", "7"),
        ("method", "pgd + at"),
    ];
    known.iter().for_each(|(field, value)| assert_eq!(of_card(field), *value, "{field}"));
    assert_eq!(of_card("threat"), r#"{"norm":"Linf","eps":0.3}"#);
    let metrics: Value = serde_json::from_str(of_card("metrics")).unwrap();
    assert_eq!(metrics["natural"], run.metrics()[epoch as usize - 1]["natural"]);
    // PyTorch's names and shapes: `nn.Sequential` of convolutions 0, 2, 4, 6 and linear layers 9,
    // 11.
    assert_eq!(weights["0.weight"].1, [32, 1, 3, 3]);
    assert_eq!(weights["11.bias"].1, [10]);
    // They are that epoch's weights: a run that ends there has them as its last.
    let until = place.train("until", &[&teach[..], &[&format!("train.epochs={epoch}")]].concat());
    assert!(until.tensors("last.safetensors").0 == weights);
    assert!(run.tensors("last.safetensors").0 != weights);
}

#[test]
fn a_tie_keeps_the_earlier_epoch() {
    let place = Place::with(AT);
    // A rate of zero leaves every epoch equal.
    let run = place.train("run", &["optimizer.lr=0", "optimizer.weight_decay=0"]);
    let scores: Vec<_> = run.metrics().iter().map(|row| (row["natural"].clone(), row["pgd2"].clone())).collect();
    assert!(scores.windows(2).all(|pair| pair[0] == pair[1]), "{scores:?}");
    assert_eq!(run.tensors("best.safetensors").1["foil.epochs"], "1");
}

#[test]
fn it_is_said_on_which_images_the_checkpoint_is_selected() {
    let place = Place::with(AT);
    let on_test = place.train("test", &["train.epochs=1"]);
    let held_out = place.train("held", &["train.epochs=1", "images.validation=20"]);
    let selection = |run: &Run| run.text("log.txt").lines().find(|l| l.starts_with("selection: ")).unwrap().to_string();
    assert!(selection(&on_test).contains("natural + pgd2, measured on test images"), "{}", selection(&on_test));
    assert!(selection(&held_out).contains("natural + pgd2, measured on 20 held-out training images"));
    // 60 images are left to train on, and accuracies come in steps of 1/20.
    assert_eq!((&on_test.metrics()[0]["step"], &held_out.metrics()[0]["step"]), (&4.into(), &3.into()));
    let natural = held_out.metrics()[0]["natural"].as_f64().unwrap();
    assert_eq!(natural % 5.0, 0.0, "{natural}");
}

/// The scalars of a run as TensorBoard shows them: tag to (step, value).
type Curves = BTreeMap<String, Vec<(u64, f32)>>;

#[test]
fn tensorboard_shows_the_metrics_also_after_a_resume() {
    let place = Place::with(AT);
    let run = place.train("run", &["train.epochs=1"]);
    fs::write(run.file("resolved.yaml"), run.text("resolved.yaml").replace("epochs: 1", "epochs: 2")).unwrap();
    place.foil(&["train", "--resume", "run", "--no-eval"]).ok();

    let mut shown = framed(&run);
    let parts = ["experiment", "session_start_info", "session_end_info"];
    for tag in parts.map(|part| format!("other/_hparams_/{part}")) {
        // One of each process that trained.
        assert_eq!(shown.remove(&tag).map(|found| found.len()), Some(2), "{tag}");
    }
    if let Some(python) = std::env::var_os("FOIL_TEST_PYTHON") {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/check_tensorboard.py");
        let output = Command::new(python).arg(script).arg(&run.0).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read: BTreeMap<String, Vec<Value>> = serde_json::from_slice(&output.stdout).unwrap();
        let point = |p: &Value| (p["step"].as_u64().unwrap(), p["value"].as_f64().unwrap() as f32);
        let read: Curves = read.iter().map(|(tag, points)| (tag.clone(), points.iter().map(point).collect())).collect();
        assert_eq!(read, shown);
    }
    for (tag, metric) in
        [("train/loss", "train_loss"), ("train/lr", "lr"), ("accuracy/natural", "natural"), ("accuracy/pgd2", "pgd2")]
    {
        let rows = run.metrics();
        let expected: Vec<_> =
            rows.iter().map(|r| (r["step"].as_u64().unwrap(), r[metric].as_f64().unwrap() as f32)).collect();
        assert_eq!(shown.remove(tag), Some(expected), "{tag}");
    }
}

#[test]
fn tensorboard_gets_steps_and_attacked_images_where_asked_for() {
    let place = Place::with(AT);
    let plain = place.train("plain", &["train.epochs=2"]);
    let run = place.train("run", &["train.epochs=2", "log={ steps: 3, images: 5 }"]);
    // 4 steps an epoch.
    let (shown, steps) = (framed(&run), |tag: &str, shown: &Curves| -> Vec<u64> {
        shown.get(tag).into_iter().flatten().map(|(step, _)| *step).collect()
    });
    for tag in ["step/loss", "step/lr"] {
        assert_eq!(steps(tag, &shown), [3, 6], "{tag}: {shown:?}");
    }
    assert_eq!(steps("other/attacked/pgd2", &shown), [4, 8]);
    assert!(framed(&plain).keys().all(|tag| !tag.starts_with("step/") && !tag.contains("attacked")));
    // What is logged changes nothing that is trained.
    for name in ["last.safetensors", "metrics.jsonl"] {
        match name.ends_with("jsonl") {
            true => assert_eq!(run.text(name), plain.text(name)),
            false => assert!(run.tensors(name).0 == plain.tensors(name).0, "{name}"),
        }
    }
    let error = place.foil(&["check", "tiny.yaml", "log.images=0"]).error();
    assert!(error.contains("`log.images`"), "{error}");
    if let Some(python) = std::env::var_os("FOIL_TEST_PYTHON") {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/check_tensorboard.py");
        let output = Command::new(python).arg(script).args(["--more"]).arg(&run.0).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(read["images"]["attacked/pgd2"], serde_json::json!([[4, 144, 57], [8, 144, 57]]));
        assert_eq!(read["hparams"]["optimizer"], "sgd");
        assert_eq!(read["hparams"]["optimizer.lr"], 0.05);
        assert_eq!(read["metrics"], serde_json::json!(["accuracy/natural", "accuracy/pgd2"]));
    }
}

/// Reads the event files as TFRecords: length, masked CRC-32C of it, data, masked CRC-32C of the
/// data. In the data, a value is recognised by its bytes: field 1 (tag), then field 2 (float).
fn framed(run: &Run) -> Curves {
    let mut curves = Curves::new();
    for name in run.files().iter().filter(|name| name.starts_with("events.out.tfevents.")) {
        let bytes = fs::read(run.file(name)).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (length, tail) = rest.split_at(8);
            let n = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            assert_eq!(tail[..4], masked_crc(length).to_le_bytes(), "{name}");
            let data = &tail[4..4 + n];
            assert_eq!(tail[4 + n..8 + n], masked_crc(data).to_le_bytes(), "{name}");
            rest = &tail[8 + n..];
            scalars(data, &mut curves);
        }
    }
    curves
}

/// One event: `1: fixed64 time`, `2: varint step`, `5: summary` of `1: value` of `1: tag`, `2:
/// fixed32`.
fn scalars(mut event: &[u8], curves: &mut Curves) {
    let mut step = 0;
    while let Some((&key, tail)) = event.split_first() {
        match key {
            0x09 => event = &tail[8..],
            0x10 => (step, event) = varint(tail),
            0x2a => {
                let (length, tail) = varint(tail);
                let (mut summary, after) = tail.split_at(length as usize);
                event = after;
                while let Some((0x0a, tail)) = summary.split_first() {
                    let (length, tail) = varint(tail);
                    let (value, after) = tail.split_at(length as usize);
                    summary = after;
                    let (length, tail) = varint(&value[1..]);
                    let (tag, number) = tail.split_at(length as usize);
                    let tag = String::from_utf8(tag.to_vec()).unwrap();
                    match number[0] {
                        0x15 => {
                            let number = f32::from_le_bytes(number[1..5].try_into().unwrap());
                            curves.entry(tag).or_default().push((step, number));
                        }
                        // An image (4), or what is for a page of TensorBoard's (9).
                        _ => curves.entry(format!("other/{tag}")).or_default().push((step, number.len() as f32)),
                    }
                }
            }
            _ => {
                let (length, tail) = varint(tail);
                event = &tail[length as usize..];
            }
        }
    }
}

fn varint(bytes: &[u8]) -> (u64, &[u8]) {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[..length].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    (value, &bytes[length..])
}

/// CRC-32C bit by bit, rotated and shifted as TFRecord has it.
fn masked_crc(data: &[u8]) -> u32 {
    let crc = !data.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    });
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Memory does not grow with the number of steps.
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_where_it_is() {
    let place = Place::with(AT);
    let tiny =
        ["train.epochs=12", "train.batch_size=2", "attack.steps=1", "train.checkpoint_steps=1000", "select=natural"];
    let mut running = place.start(&[&["train", "tiny.yaml", "--no-eval", "--run-dir", "run"], &tiny[..]].concat());
    let mut resident = Vec::new();
    while resident.len() < 11 && running.wait_for("epoch ") {
        resident.push(running.resident());
    }
    running.end().ok();
    // 40 steps an epoch; libtorch's allocator settles in the first.
    let (early, late) = (resident[2], resident[10]);
    assert!(late < early + 8 * 1024, "KiB after each epoch: {resident:?}");
}
