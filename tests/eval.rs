//! `foil eval` and `foil bench`: what they print and record, and what must hold between the
//! numbers.

mod tiny;

// A plugin crate that nothing names is not linked.
use foil_at as _;
use foil_attacks as _;
use foil_augmentations as _;
use foil_datasets as _;
use foil_models as _;
use foil_optimizers as _;
use foil_schedulers as _;

use serde_json::Value;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tiny::{AT, Place};

/// A digit classifier after 16 steps: far better than chance, and easy to attack.
fn trained() -> Place {
    let place = Place::with(AT);
    let rate = "optimizer={ type: adam, lr: 0.003 }";
    let quick =
        ["attack=none", "augment=null", "images.train_limit=160", "train.epochs=2", "train.checkpoint_steps=1000"];
    place.train("run", &[&quick[..], &[rate]].concat());
    place
}

fn accuracies(record: &Value) -> Vec<(String, f64)> {
    let entries = record["entries"].as_array().unwrap().iter();
    entries.map(|e| (e["name"].as_str().unwrap().to_string(), e["accuracy"].as_f64().unwrap())).collect()
}

#[test]
fn a_record_says_what_was_done() {
    let place = trained();
    let ended = place.foil(&["eval", "run"]).ok();
    let record = place.run("run").json("eval.json");
    for (field, value) in [("model", "tiny"), ("dataset", "mnist_subset"), ("precision", "fp32"), ("device", "cpu")] {
        assert_eq!(record[field], value, "{field}");
    }
    assert_eq!((&record["n"], &record["seed"]), (&50.into(), &7.into()));
    assert_eq!(record["config_hash"], place.run("run").tensors("best.safetensors").1["foil.config_hash"].as_str());
    assert_eq!(record["entries"][0]["attack"], Value::Null);
    // Trained without an attack, evaluated at 0.1: the record is about the evaluation.
    assert_eq!((&record["threat"]["norm"], &record["threat"]["eps"]), (&"Linf".into(), &0.1.into()));
    assert_eq!(
        (&record["entries"][1]["attack"]["type"], &record["entries"][1]["attack"]["steps"]),
        (&"pgd".into(), &2.into())
    );
    let scores = accuracies(&record);
    assert_eq!(scores.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["natural", "pgd2"]);
    let mean = (scores[0].1 + scores[1].1) / 2.0;
    assert!((record["avg"].as_f64().unwrap() - mean).abs() < 1e-9);
    // The table on standard output has the same numbers, and names the attacks as papers do.
    assert!(ended.out.contains("Natural") && ended.out.contains("PGD-2"), "{}", ended.out);
    for number in [scores[0].1, scores[1].1, mean] {
        assert!(ended.out.contains(&format!("{number:.2}")), "{}", ended.out);
    }
    // They are what the run measured at its best epoch: the same images, attack and random starts.
    let row = place.run("run").metrics().into_iter().max_by(|a, b| {
        let score = |row: &Value| row["natural"].as_f64().unwrap() + row["pgd2"].as_f64().unwrap();
        score(a).total_cmp(&score(b)).then(b["epoch"].as_u64().cmp(&a["epoch"].as_u64()))
    });
    let row = row.unwrap();
    assert_eq!((&row["natural"], &row["pgd2"]), (&scores[0].1.into(), &scores[1].1.into()));
}

#[test]
fn checkpoints_and_overrides() {
    let place = trained();
    let eval = |args: &[&str]| {
        place.foil(&[&["eval"], args, &["--out", "out.json"]].concat()).ok();
        let text = std::fs::read_to_string(place.path("out.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let whole = eval(&["run"]);
    assert!(!place.run("run").file("eval.json").exists(), "--out was given");
    assert_eq!(accuracies(&eval(&["run/best.safetensors"])), accuracies(&whole));
    let last = accuracies(&eval(&["run/last.safetensors"]));
    let epoch = place.run("run").metrics().pop().unwrap();
    assert_eq!((last[0].1, last[1].1), (epoch["natural"].as_f64().unwrap(), epoch["pgd2"].as_f64().unwrap()));

    let other = eval(&["run", "evaluate=[pgd2]", "attacks.pgd2.steps=3", "images.test_limit=20"]);
    assert_eq!((&other["n"], &other["entries"][0]["attack"]["steps"]), (&20.into(), &3.into()));
    assert_eq!(accuracies(&other).len(), 1);
    assert_ne!(other["config_hash"], whole["config_hash"]);
    // The batch size does not affect the result.
    assert_eq!(accuracies(&eval(&["run", "train.eval_batch_size=7"])), accuracies(&whole));

    let error = place.foil(&["eval", "run", "attacks.pgd2.stepps=3"]).error();
    assert!(error.contains("unknown key `stepps` in `attacks.pgd2` (attack `pgd`)"), "{error}");
}

#[test]
fn outputs_that_are_not_finite_are_wrong_and_counted() {
    let place = trained();
    let spoilt = place.run("run").file("best.safetensors");
    let (weights, card) = foil::tensors::read(&spoilt).unwrap();
    let spoil = |(name, tensor): (String, tch::Tensor)| (name, tensor * f64::NAN);
    foil::tensors::write(&spoilt, &weights.into_iter().map(spoil).collect::<Vec<_>>(), card).unwrap();
    let output = place.foil(&["eval", "run", "evaluate=[natural]"]).ok();
    let warning = "evaluation `natural`: the logits of 50 of 50 images are not finite; they count as misclassified";
    assert!(output.err.starts_with(&format!("warning: {warning}\n")), "{}", output.err);
    assert_eq!(place.run("run").json("eval.json")["entries"][0]["accuracy"], 0.0);
}

#[test]
fn stronger_attacks_leave_less() {
    let place = trained();
    let attack =
        |name: &str, settings: &str| format!("attacks.{name}={{ type: pgd, alpha: 0.05, start: none, {settings} }}");
    let suite = [
        attack("pgd0", "eps: 0, steps: 3"),
        attack("pgd1", "eps: 0.3, steps: 1"),
        attack("pgd4", "eps: 0.3, steps: 4"),
        attack("pgd12", "eps: 0.3, steps: 12"),
        "attacks.fgsm={ type: fgsm, eps: 0.05 }".to_string(),
        "evaluate=[natural, pgd0, pgd1, pgd4, pgd12, fgsm]".to_string(),
    ];
    let overrides: Vec<&str> = suite.iter().map(String::as_str).collect();
    place.foil(&[&["eval", "run"], &overrides[..]].concat()).ok();
    let scores = accuracies(&place.run("run").json("eval.json"));
    let of = |wanted: &str| scores.iter().find(|(name, _)| name == wanted).unwrap().1;
    assert!(of("natural") > 30.0, "it learned nothing: {scores:?}");
    assert_eq!(of("pgd0"), of("natural"), "a ball of radius 0 is the image");
    assert!(of("natural") >= of("pgd1") && of("pgd1") >= of("pgd4") && of("pgd4") >= of("pgd12"), "{scores:?}");
    assert!(of("pgd12") < of("natural"), "{scores:?}");
    assert_eq!(of("fgsm"), of("pgd1"), "FGSM is PGD's first step where both are 0.05");
}

#[test]
fn bench_tells_the_time_of_a_step() {
    let place = Place::with(AT);
    let line = place.foil(&["bench", "tiny.yaml", "--runs", "3"]).ok().out;
    assert!(line.contains(" ms a step (median of 3;") && line.trim_end().ends_with(" images/s"), "{line}");
    let record: Value =
        serde_json::from_str(&place.foil(&["bench", "tiny.yaml", "--runs", "3", "--json"]).ok().out).unwrap();
    let number = |field: &str| record[field].as_f64().unwrap();
    assert!(number("ms") > 0.0);
    assert!((number("images_per_second") * number("ms") / 1000.0 - 20.0).abs() < 1e-6, "{record}");
    assert_eq!(
        (&record["attack"], &record["loss"], &record["model"]),
        (&"pgd".into(), &"at".into(), &"small_cnn".into())
    );
    let error = place.foil(&["bench", "tiny.yaml", "--runs", "0"]).error();
    assert!(error.contains("--runs 0 measures nothing"), "{error}");
}

#[test]
fn bench_compares_pipelines_with_the_ceilings_of_the_machine() {
    let place = Place::with(AT);
    let words = ["bench", "--methods", "tiny", "--configs", ".", "--batch", "4,8", "--runs", "2", "--json=steps.json"];
    let ended = place.foil(&words).ok();
    assert!(ended.out.contains("% of arithmetic") && ended.out.contains("GB/s"), "{}", ended.out);
    let records: Value = serde_json::from_slice(&std::fs::read(place.path("steps.json")).unwrap()).unwrap();
    let number = |row: usize, field: &str| records[row][field].as_f64().unwrap();
    assert_eq!((number(0, "batch"), number(1, "batch")), (4.0, 8.0));
    // small_cnn's forward pass is 2 x 4.62 million operations an image (each output number is a sum
    // over its patch), and the step has two input gradients (twice that each), the update (three
    // times) and the clean pass behind it (once).
    let forward = 2.0
        * (784.0 * 32.0 * 9.0 + 196.0 * 32.0 * 288.0 + 196.0 * 64.0 * 288.0 + 49.0 * 64.0 * 576.0 + 313_600.0 + 1000.0);
    for (row, batch) in [(0, 4.0), (1, 8.0)] {
        assert!((number(row, "operations") / (forward * 8.0 * batch) - 1.0).abs() < 1e-9, "{records}");
        assert!(number(row, "of_arithmetic") > 0.0 && number(row, "of_memory") > 0.0, "{records}");
        assert!(number(row, "ms_min") <= number(row, "ms") && number(row, "ms") <= number(row, "ms_max"), "{records}");
    }
    assert!(place.foil(&["bench", "tiny.yaml", "--methods", "tiny"]).error().contains("is not an override"));
}

#[test]
fn profile_names_phases_and_operators() {
    let place = Place::with(AT);
    let out = place.foil(&["profile", "tiny.yaml", "--runs", "1", "--top", "5"]).ok().out;
    for word in ["forward passes of the loss", "backward", "update", "convolution", "ms a step as in training"] {
        assert!(out.contains(word), "no `{word}` in\n{out}");
    }
}

/// Rows of `eval.images.csv` by column.
fn column(csv: &str, name: &str) -> Vec<String> {
    let mut lines = csv.lines();
    let at = lines.next().unwrap().split(',').position(|head| head == name).unwrap_or_else(|| panic!("no `{name}`"));
    lines.map(|line| line.split(',').nth(at).unwrap().to_string()).collect()
}

/// AutoAttack in a size for a test.
const AUTO: &[&str] = &[
    "attacks.auto={ type: autoattack, eps: 0.05, steps: 4, n_queries: 60, targets: 2 }",
    "evaluate=[natural,pgd2,auto]",
    "train.eval_batch_size=9",
];

#[test]
fn a_chain_tells_its_stages_and_every_image_its_fate() {
    let place = trained();
    let ended = place.foil(&[&["eval", "run"], AUTO].concat()).ok();
    let record = place.run("run").json("eval.json");
    let stages = record["entries"][2]["stages"].as_array().unwrap();
    let names: Vec<&str> = stages.iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["clean", "apgd_ce", "apgd_t", "fab_t", "square"]);
    let accuracies: Vec<f64> = stages.iter().map(|stage| stage["accuracy"].as_f64().unwrap()).collect();
    assert!(accuracies.is_sorted_by(|a, b| a >= b), "accuracy falls along the chain: {accuracies:?}");
    let broken: u64 = stages.iter().map(|stage| stage["broken"].as_u64().unwrap()).sum();
    assert_eq!(100.0 - 2.0 * broken as f64, accuracies[4], "of 50 images each is 2 %");
    assert_eq!(record["entries"][2]["accuracy"], accuracies[4]);
    assert_eq!(record["entries"][0]["accuracy"], accuracies[0], "the chain starts from the natural accuracy");
    assert!(ended.out.contains("auto: clean "), "{}", ended.out);

    let csv = place.run("run").text("eval.images.csv");
    let labels = column(&csv, "label");
    assert_eq!(labels.len(), 50);
    let (mut right_everywhere, mut margins_agree) = (0, true);
    let columns = ["natural", "pgd2", "auto"].map(|name| (column(&csv, name), column(&csv, &format!("{name}.margin"))));
    for (i, by) in column(&csv, "broken_by").iter().enumerate() {
        let right = columns.each_ref().map(|(right, _)| right[i] == "1");
        margins_agree &=
            columns.iter().all(|(right, margin)| (right[i] == "1") == (margin[i].parse::<f64>().unwrap() > 0.0));
        right_everywhere += usize::from(right.iter().all(|right| *right));
        let first = ["natural", "pgd2", "auto."].into_iter().zip(right).find(|(_, right)| !right);
        assert!(first.map_or(by.is_empty(), |(name, _)| by.starts_with(name)), "image {i} was broken by `{by}`");
    }
    assert!(margins_agree, "a margin is above 0 where the image is right");
    assert_eq!(record["worst_case"], 2.0 * right_everywhere as f64);
    let share = 2.0 * columns[2].0.iter().filter(|right| *right == "1").count() as f64;
    assert_eq!(record["entries"][2]["accuracy"], share);
    assert!(!place.run("run").file("eval.partial.json").exists(), "the record is written");
}

/// What a record says of the figures, without dates and times.
fn figures(place: &Place, name: &str) -> (String, Value) {
    let text = fs::read_to_string(place.path(&format!("{name}.json"))).unwrap();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    for field in ["date", "seconds", "digest"] {
        record[field] = Value::Null;
    }
    for entry in record["entries"].as_array_mut().unwrap() {
        entry["seconds"] = Value::Null;
        for stage in entry["stages"].as_array_mut().into_iter().flatten() {
            stage["seconds"] = Value::Null;
        }
    }
    (fs::read_to_string(place.path(&format!("{name}.images.csv"))).unwrap(), record)
}

#[test]
fn a_stopped_or_killed_evaluation_goes_on_to_the_same_figures() {
    let place = trained();
    // A second of queries, in stages and batches.
    let slow = "attacks.auto={ type: autoattack, eps: 0.02, steps: 6, n_queries: 150, targets: 2 }";
    let eval = |out: &'static str| {
        [&["eval", "run"][..], AUTO, &[slow, "images.test_limit=30", "--save-adversarial", "--out", out]].concat()
    };
    place.foil(&eval("whole.json")).ok();
    let images = |name: &str| {
        let read = |attack: &str| foil::tensors::read(&place.path(&format!("{name}.adversarial/{attack}.safetensors")));
        ["natural", "pgd2", "auto"].map(|attack| read(attack).unwrap())
    };
    for (signal, out, name) in [("INT", "int.json", "int"), ("KILL", "kill.json", "kill")] {
        let running = place.begin(&eval(out));
        let partial = place.path(&format!("{name}.partial.json"));
        let started = Instant::now();
        while !partial.exists() && started.elapsed() < Duration::from_secs(60) {
            sleep(Duration::from_millis(5));
        }
        running.signal(signal);
        let ended = running.end();
        assert!(partial.exists() && !place.path(out).exists(), "{}", ended.err);
        if signal == "INT" {
            assert_eq!(ended.code, Some(130), "{}", ended.err);
            let said = "stopped; run the same command to resume (this evaluation alone: foil eval run)\n";
            assert!(ended.err.ends_with(said), "{}", ended.err);
        }
        let before = fs::read(&partial).unwrap();
        assert!(!before.is_empty());
        let went_on = place.foil(&eval(out)).ok();
        assert!(went_on.err.contains("resuming an evaluation that was stopped"), "{}", went_on.err);
        assert_eq!(figures(&place, name), figures(&place, "whole"));
        assert!(!partial.exists());
        assert!(images(name) == images("whole"), "the images are those of an evaluation that was not stopped");
        let files = fs::read_dir(place.path(&format!("{name}.adversarial"))).unwrap();
        assert_eq!(files.count(), 3, "nothing else is left there");

        // Other settings do not resume from it.
        fs::write(&partial, before).unwrap();
        let mut other = eval(out);
        other.push("evaluate=[natural]");
        assert!(place.foil(&other).ok().err.contains("with other settings or weights; starting over"));
        assert!(!partial.exists());
    }
}

#[test]
fn saved_images_are_the_ones_that_were_evaluated() {
    let place = trained();
    let ended = place.foil(&[&["eval", "run", "--save-adversarial"], AUTO].concat()).ok();
    assert!(ended.err.contains("adversarial images: run/eval.adversarial"), "{}", ended.err);
    let loaded = foil_runs::pipeline::load(&place.path("run/resolved.yaml"), &[]).unwrap();
    let cpu = tch::Device::Cpu;
    let parts = foil_runs::pipeline::assemble(&loaded.pipeline, tch::Kind::Float, cpu, false).unwrap();
    let network = parts.step.model.network();
    network.read(&place.path("run/best.safetensors")).unwrap();
    let test =
        foil::data::Resident::new(&foil_runs::data::read(&loaded.pipeline).unwrap().test, cpu).unwrap().first(50);
    let (clean, ..) = test.slice(0, 50, tch::Kind::Float);
    let csv = place.run("run").text("eval.images.csv");
    for (attack, eps, stages) in
        [("natural", 0.0, "natural"), ("pgd2", 0.1, "pgd2"), ("auto", 0.05, "clean,apgd_ce,apgd_t.1,apgd_t.2")]
    {
        let path = place.path(&format!("run/eval.adversarial/{attack}.safetensors"));
        let (found, card) = foil::tensors::read(&path).unwrap();
        assert!(card["foil.stages"].starts_with(stages), "{card:?}");
        assert_eq!(Vec::<i64>::try_from(&found["index"]).unwrap(), (0..50).collect::<Vec<_>>());
        let far = (&found["x"] - &clean).abs().max().double_value(&[]);
        assert!(far <= eps + 1e-6 && (eps == 0.0 || far > eps / 2.0), "{attack}: {far}");
        // Its file, the table, and the network when it is asked again.
        let logits = tch::no_grad(|| network.frozen(&found["x"], foil::nn::Mode::Eval, None));
        assert_eq!(logits.argmax(-1, false).eq_tensor(&found["y"]), found["right"], "{attack}");
        let margins = foil::loss::terms::margin(&logits, &found["y"]);
        assert!((margins - &found["margin"]).abs().max().double_value(&[]) < 1e-4, "{attack}");
        let right: Vec<bool> = column(&csv, attack).iter().map(|right| right == "1").collect();
        assert_eq!(Vec::<bool>::try_from(&found["right"]).unwrap(), right, "{attack}");
        assert_eq!(found["broken_by"].lt(0), found["right"], "{attack}");
    }
}

#[test]
fn a_list_of_radii_is_a_row_for_each() {
    let place = trained();
    let row = ["attacks.pgd2.eps=[0, 2/255, 0.30]", "evaluate=[natural,pgd2]"];
    // Selection has been made; a row has no single figure for it.
    let error = place.foil(&[&["eval", "run"], &row[..]].concat()).error();
    assert!(error.contains("is `pgd2`, which is a row of several radii"), "{error}");
    let ended = place.foil(&[&["eval", "run", "select=natural", "--save-adversarial"], &row[..]].concat()).ok();
    let scores = accuracies(&place.run("run").json("eval.json"));
    let names: Vec<&str> = scores.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["natural", "pgd2@0", "pgd2@2/255", "pgd2@0.30"]);
    assert_eq!(scores[0].1, scores[1].1, "a ball of radius 0 is the image");
    assert!(scores[1].1 >= scores[2].1 && scores[2].1 >= scores[3].1 && scores[3].1 < scores[0].1, "{scores:?}");
    for heading in ["PGD-2 0 ", "PGD-2 2/255", "PGD-2 0.30"] {
        assert!(ended.out.contains(heading), "{}", ended.out);
    }
    assert!(place.path("run/eval.adversarial/pgd2@2_255.safetensors").exists());
}

#[test]
fn an_adversarially_trained_model_passes_the_trust_checks() {
    let place = Place::with(AT);
    let quick = [
        "attack.eps=0.1",
        "attack.mode=eval",
        "augment=null",
        "images.train_limit=320",
        "train.epochs=2",
        "train.checkpoint_steps=1000",
        "optimizer={ type: adam, lr: 0.003 }",
    ];
    place.train("run", &quick);
    let ended = place.foil(&["eval", "run", "--transfer", "run"]).ok();
    let record = place.run("run").json("eval.json");
    let checks = record["trust"].as_array().unwrap();
    assert_eq!(checks.len(), 9, "{checks:?}");
    for check in checks {
        assert_eq!(check["passed"], true, "{check}");
        let line = format!("✓ {}: {}", check["name"].as_str().unwrap(), check["says"].as_str().unwrap());
        assert!(ended.out.contains(&line), "{line} is not in\n{}", ended.out);
    }
    place.foil(&["eval", "run", "--trust", "off"]).ok();
    assert_eq!(place.run("run").json("eval.json")["trust"], Value::Null);
    let error = place.foil(&["eval", "run", "--transfer", "nowhere"]).error();
    assert!(error.contains("nowhere"), "{error}");
}
