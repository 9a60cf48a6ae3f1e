//! What a step may have besides model, attack, loss and optimiser, in the real program: a frozen
//! helper with images of its own, and what `foil probe` shows of it; attacks that keep something;
//! several norms; and what training warns of.

mod tiny;

use foil::tensors;
use std::collections::HashMap;
use std::fs;
use tch::{Device, Kind, Tensor};
use tiny::{AT, Place};

/// HAT with the run `natural` as its helper, averaged.
const HAT: &str = "
extends: tiny.yaml
networks: { helper: { model: small_cnn, init: natural/best.safetensors } }
attack:
  type: beyond
  inner: { type: pgd, objective: kl, eps: 0.3, alpha: 0.1, steps: 2, start: gaussian }
loss: { type: hat, label_smoothing: 0.1 }
update: { type: awp, gamma: 0.01 }
average: { type: ema, decay: 0.9, ramp: false }
";

fn with_a_helper() -> Place {
    let place = Place::with(AT);
    place.train("natural", &["attack={ type: none }", "train.epochs=1"]);
    fs::write(place.path("hat.yaml"), HAT).unwrap();
    place
}

#[test]
fn a_helper_is_carried_along_and_stays_as_it_is() {
    let place = with_a_helper();
    let train = ["train", "hat.yaml", "--no-eval", "--run-dir"];
    place.foil(&[&train[..], &["whole"]].concat()).ok();
    let whole = place.run("whole");
    assert!(whole.text("resolved.yaml").contains("init: networks.helper.safetensors"), "{:?}", whole.files());
    let weights = |run: &str, file: &str| place.run(run).tensors(file).0;
    assert!(weights("whole", "networks.helper.safetensors") == weights("natural", "best.safetensors"));

    let mut running = place.start(&[&train[..], &["killed"]].concat());
    assert!(running.wait_for("epoch 2/3"));
    assert!(running.kill());
    // The run has its own copy.
    fs::remove_dir_all(place.path("natural")).unwrap();
    place.foil(&["train", "--resume", "killed", "--no-eval"]).ok();
    place.run("killed").assert_same(&whole);
    place.foil(&["eval", "whole"]).ok();
}

#[test]
fn a_helper_of_another_model_is_refused() {
    let place = with_a_helper();
    let error = place.foil(&["check", "hat.yaml", "networks.helper.model=trades_cnn"]).error();
    assert!(error.contains("`networks.helper.init` cannot be used: natural/best.safetensors: "), "{error}");
    assert!(error.contains("these weights do not fit the model"), "{error}");
    let error = place.foil(&["check", "hat.yaml", "networks.helper.init=nowhere.safetensors"]).error();
    assert!(error.contains("`networks.helper.init` cannot be used: "), "{error}");
    let error = place.foil(&["check", "hat.yaml", "loss=ard"]).error();
    assert!(error.contains("`ard`, which asks for the network `teacher`, but `networks` has `helper`"), "{error}");
}

#[test]
fn a_probe_shows_networks_images_and_averages() {
    let place = with_a_helper();
    let (own, _) = tensors::read(&place.path("natural/best.safetensors")).unwrap();
    let helper = own.iter().map(|(name, t)| (format!("helper.{name}"), t.shallow_clone()));
    let weights: Vec<(String, Tensor)> =
        own.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).chain(helper).collect();
    tensors::write(&place.path("w.safetensors"), &weights, HashMap::new()).unwrap();
    let x = Tensor::arange(2 * 28 * 28, (Kind::Float, Device::Cpu)).remainder(7).view([2, 1, 28, 28]) / 7.0;
    let batch = [("x".to_string(), x), ("y".to_string(), Tensor::from_slice(&[3i64, 5]))];
    tensors::write(&place.path("b.safetensors"), &batch, HashMap::new()).unwrap();
    let words =
        ["probe", "hat.yaml", "--weights", "w.safetensors", "--batch", "b.safetensors", "--out", "o.safetensors"];
    place.foil(&words).ok();
    let (found, _) = tensors::read(&place.path("o.safetensors")).unwrap();
    let close = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]) < 1e-6;
    // x + 2 (x' - x)
    assert!(close(&found["images.beyond"], &(&found["x_adv"] * 2.0 - &batch[0].1)));
    assert_eq!(found["logits.helper.adv"].size(), [2, 10]);
    assert_eq!(found["logits.beyond"].size(), [2, 10]);
    // A tenth of the way from the weights before to those after.
    for (name, before) in &own {
        let after = &found[&format!("after.{name}")];
        let average = before + (after - before) * 0.1;
        assert!(close(&found[&format!("average.{name}")], &average), "{name}");
    }
    // Without the helper's weights the file does not fit.
    tensors::write(&place.path("w.safetensors"), &weights[..own.len()], HashMap::new()).unwrap();
    let error = place.foil(&words).error();
    assert!(error.contains("`helper.") && error.contains("is missing"), "{error}");
}

/// Several averages at once: one is evaluated, the others are saved beside it, and all resume.
#[test]
fn averages_beside_the_evaluated_one_are_saved() {
    let place = Place::with(AT);
    let words = [
        "average={ type: ema, decay: 0.9, ramp: false }",
        "averages.swa={ type: swa, start: 1 }",
        "averages.trained={ type: ema, decay: 0, ramp: false }",
    ];
    let whole = place.train("whole", &words);
    let mut running = place.start(&[&["train", "tiny.yaml", "--no-eval", "--run-dir", "killed"], &words[..]].concat());
    assert!(running.wait_for("epoch 2/3"));
    assert!(running.kill());
    place.foil(&["train", "--resume", "killed", "--no-eval"]).ok();
    place.run("killed").assert_same(&whole);
    for name in ["best_swa", "last_swa", "best_trained", "last_trained"].map(|name| format!("{name}.safetensors")) {
        assert!(whole.tensors(&name).0 == place.run("killed").tensors(&name).0, "{name}");
    }
    // The trained network is the one that training alone would have ended with.
    let alone = place.train("alone", &[]);
    assert!(alone.tensors("last.safetensors").0 == whole.tensors("last_trained.safetensors").0);
    assert!(alone.tensors("last.safetensors").0 != whole.tensors("last_swa.safetensors").0);
    place.foil(&["eval", "whole/last_swa.safetensors"]).ok();
    let error = place.foil(&["check", "tiny.yaml", "averages.mask=ema"]).error();
    assert!(error.contains("`averages.mask` is not a name for an average"), "{error}");
    let error = place.foil(&["check", "tiny.yaml", "averages.late={ type: swa, start: 3 }"]).error();
    assert!(error.contains("`averages.late` begins after"), "{error}");
}

/// What these attacks keep is saved: a run that was killed ends with the same bits.
#[test]
fn attacks_that_keep_something_resume() {
    let place = Place::with(AT);
    let apgd = "type: apgd, steps: 2, start: none, keep: worst";
    let eat = format!("{{ type: one_of, attacks: [{{ {apgd}, eps: 0.3 }}, {{ {apgd}, norm: L1, eps: 10 }}] }}");
    for (name, attack, loss) in [
        ("free", "{ type: free, eps: 0.3 }", "at"),
        ("pgi", "{ type: fgsm_pgi, eps: 0.3, alpha: 0.3, reset: 2 }", "fgsm_pgi"),
        ("align", "{ type: grad_align, eps: 0.3 }", "grad_align"),
        ("eat", eat.as_str(), "at"),
    ] {
        let overrides = [format!("attack={attack}"), format!("loss={loss}")];
        let overrides = overrides.each_ref().map(String::as_str);
        let whole = place.train(name, &overrides);
        let killed = format!("{name}-killed");
        let mut running =
            place.start(&[&["train", "tiny.yaml", "--no-eval", "--run-dir", &killed], &overrides[..]].concat());
        assert!(running.wait_for("epoch 2/3"));
        assert!(running.kill());
        place.foil(&["train", "--resume", &killed, "--no-eval"]).ok();
        place.run(&killed).assert_same(&whole);
    }
}

/// Within three norms, and under all of them: what resists each, image by image.
#[test]
fn a_union_of_norms_is_evaluated() {
    let place = Place::with(AT);
    let learns = ["optimizer={ type: adam, lr: 0.003 }", "images.train_limit=400", "train.epochs=5", "augment=[]"];
    place.train("run", &[&["attack={ type: none }"], &learns[..]].concat());
    let attacks = "attacks={ linf: { type: apgd, eps: 0.1, steps: 5 }, l2: { type: apgd, norm: L2, eps: 1, steps: 5 }, \
                   l1: { type: apgd, norm: L1, eps: 4, steps: 10 } }";
    place.foil(&["eval", "run", attacks, "evaluate=[natural,linf,l2,l1]", "--out", "union.json"]).ok();
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(place.path("union.json")).unwrap()).unwrap();
    let entries: Vec<(&str, f64)> = record["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap(), entry["accuracy"].as_f64().unwrap()))
        .collect();
    assert_eq!(entries.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["natural", "linf", "l2", "l1"]);
    let table = fs::read_to_string(place.path("union.images.csv")).unwrap();
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let columns = ["natural", "linf", "l2", "l1"].map(|name| head.iter().position(|column| *column == name).unwrap());
    let stands = |line: &Vec<&str>| columns.iter().all(|column| line[*column] == "1");
    let (all, standing) = lines.fold((0, 0), |(all, standing), line| (all + 1, standing + usize::from(stands(&line))));
    assert_eq!(record["worst_case"], 100.0 * standing as f64 / all as f64);
    let [natural, linf, l2, l1] = [0, 1, 2, 3].map(|i| entries[i].1);
    assert!(linf < natural && l2 < natural && l1 < natural, "{entries:?}");
}

/// Training on attacks that become none: within an epoch the network resists nothing else.
#[test]
fn a_network_that_comes_to_resist_its_own_attack_alone_is_warned_of() {
    let place = Place::with(
        "
data: mnist_subset
device: cpu
images: { train_limit: 3000, test_limit: 200 }
model: { type: small_cnn, width: 8, hidden: 32 }
attack:
  type: pgd
  steps: 3
  start: none
  eps: 0.25
  mode: train
  alpha: { type: steps, points: [[1, 0.02], [2, 0.08], [4, 0]], count: epochs_from_one }
loss: at
optimizer: { type: adam, lr: 0.003 }
train: { epochs: 4, batch_size: 50, eval_batch_size: 200 }
attacks: { pgd10: { type: pgd, eps: 0.25, alpha: 0.05, steps: 10, start: none } }
select: natural + pgd10
evaluate: [natural, pgd10]
",
    );
    let ended = place.foil(&["train", "tiny.yaml", "--no-eval", "--run-dir", "run"]).ok();
    let run = place.run("run");
    let said = "epoch 4: accuracy under pgd10 fell from";
    assert!(ended.err.contains(said) && ended.err.contains("catastrophic overfitting"), "{}", ended.err);
    assert!(run.text("log.txt").contains(said), "{:?}", run.metrics());
    assert!(!ended.err.contains("epoch 3: accuracy") && !ended.err.contains("epoch 2: accuracy"), "{}", ended.err);
}
