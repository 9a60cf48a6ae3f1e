//! The pipelines of the CAT paper against the settings that its text states.

use crate::{FOLDER, files, header};
use foil_runs::pipeline::WorkList;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use foil_alp as _;
use foil_at as _;
use foil_attacks as _;
use foil_augmentations as _;
use foil_cat as _;
use foil_datasets as _;
use foil_fat as _;
use foil_mart as _;
use foil_mma as _;
use foil_models as _;
use foil_optimizers as _;
use foil_schedulers as _;
use foil_trades as _;

/// The runs that files make, resolved.
fn runs(names: &[String]) -> Vec<Value> {
    let files: Vec<PathBuf> = names.iter().map(|name| Path::new(FOLDER).join(name)).collect();
    let list = WorkList::of(&files, &[], None).unwrap_or_else(|error| panic!("{names:?}: {error}"));
    list.runs.iter().map(|run| serde_json::to_value(&run.pipeline).unwrap()).collect()
}

fn run(name: &str) -> Value {
    let [run] = <[Value; 1]>::try_from(runs(&[name.to_string()])).unwrap_or_else(|all| panic!("{} runs", all.len()));
    run
}

/// What stands under a dotted key; null where nothing does.
fn at<'a>(run: &'a Value, key: &str) -> &'a Value {
    key.split('.').fold(run, |value, part| value.get(part).unwrap_or(&Value::Null))
}

/// A number, or a fraction.
fn number(run: &Value, key: &str) -> f64 {
    let value = at(run, key);
    value.as_f64().unwrap_or_else(|| {
        let text = value.as_str().unwrap_or_else(|| panic!("{key} is {value}"));
        let (over, under) = text.split_once('/').unwrap_or_else(|| panic!("{key} is {text}"));
        over.parse::<f64>().unwrap() / under.parse::<f64>().unwrap()
    })
}

#[track_caller]
fn close(run: &Value, key: &str, wanted: f64) {
    assert!((number(run, key) - wanted).abs() < 1e-12, "{key} is {}, not {wanted}", at(run, key));
}

fn leaves(value: &Value, key: &str, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| leaves(value, &format!("{key}.{name}"), found)),
        other => drop(found.insert(key.trim_start_matches('.').to_string(), other.clone())),
    }
}

/// The keys in which two runs differ, but for their names.
fn differ(a: &Value, b: &Value) -> BTreeSet<String> {
    let [mut left, mut right] = [BTreeMap::new(), BTreeMap::new()];
    leaves(a, "", &mut left);
    leaves(b, "", &mut right);
    let keys: BTreeSet<String> = left.keys().chain(right.keys()).cloned().collect();
    keys.into_iter().filter(|key| key != "name" && left.get(key) != right.get(key)).collect()
}

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| key.to_string()).collect()
}

/// The figures' folders: as in the paper, and in small.
const FIGURES: [&str; 2] = ["figures", "figures/digits"];

/// Whether the attack `name` of a run's evaluation is PGD with these steps and this start.
fn has_pgd(run: &Value, name: &str, steps: u64, start: &str) -> bool {
    let attack = at(run, &format!("attacks.{name}"));
    attack["type"] == "pgd"
        && attack["steps"] == steps
        && attack["start"] == start
        && attack["objective"]["type"] == "ce"
        && (at(run, "evaluate").as_array().unwrap().contains(&name.into())
            || at(run, "select").as_str().unwrap().contains(name))
}

#[test]
fn figure_2_is_pgd_20_at_0_4() {
    let run = run("figures/2_masks.yaml");
    assert_eq!((at(&run, "data.type"), at(&run, "attack.type")), (&"mnist".into(), &"calibrated".into()));
    assert_eq!((at(&run, "attack.inner.type"), at(&run, "attack.inner.objective.type")), (&"pgd".into(), &"ce".into()));
    close(&run, "attack.inner.eps", 0.4);
    close(&run, "attack.inner.steps", 20.0);
    let small = self::run("figures/digits/2_masks.yaml");
    assert_eq!(
        (at(&small, "attack.type"), at(&small, "attack.inner.objective.type")),
        (&"calibrated".into(), &"ce".into())
    );
    close(&small, "attack.beta1", 0.3);
}

/// Five methods at five radii each, in small at three, that differ in nothing but the radius; all
/// tested at one.
#[test]
fn figure_3_has_five_methods_at_five_radii() {
    let levels = [8.0, 9.0, 10.0, 11.0, 12.0].map(|n: f64| n / 255.0);
    for (folder, radii, evaluated) in [(FIGURES[0], &levels[..], levels[0]), (FIGURES[1], &[0.08, 0.1, 0.12], 0.1)] {
        let mut methods = BTreeSet::new();
        for name in ["at", "fat_trades", "trades", "cat_cent", "cat_cw"] {
            let runs = runs(&[format!("{folder}/3_{name}.yaml")]);
            let inner = if name.starts_with("cat") { "attack.inner" } else { "attack" };
            let eps = format!("{inner}.eps");
            assert_eq!(runs.len(), radii.len());
            for (run, radius) in runs.iter().zip(radii) {
                close(run, &eps, *radius);
                assert!(differ(run, &runs[0]).is_subset(&set(&[&eps])));
                assert!(has_pgd(run, "pgd100", 100, "none"));
                close(run, "attacks.pgd100.eps", evaluated);
                if name.starts_with("cat") {
                    close(run, "attack.beta1", 0.1);
                }
            }
            let words = ["loss.type", &format!("{inner}.type"), &format!("{inner}.objective.type")];
            methods.insert(words.map(|key| at(&runs[0], key).as_str().unwrap_or_default().to_string()));
        }
        let wanted = [
            ["at", "pgd", "ce"],
            ["trades", "early_stopped_pgd", "kl"],
            ["trades", "pgd", "kl"],
            ["cat", "pgd", "ce"],
            ["cat", "pgd", "cw"],
        ];
        assert_eq!(methods, wanted.map(|words| words.map(String::from)).into());
    }
}

/// A1 is A2 without the weight; A2 is CAT with the inner attack in place of the calibrated one; all
/// else is shared.
#[test]
fn figure_4s_ablations_leave_out_nothing_else() {
    for folder in FIGURES {
        let [a1, a2] = ["a1", "a2"].map(|name| run(&format!("{folder}/4_{name}.yaml")));
        let cat = runs(&[format!("{folder}/4_cat_cent.yaml")]);
        let [low, high] = &cat[..] else { panic!("{} runs", cat.len()) };
        assert_eq!(differ(&a1, &a2), set(&["loss.weighted"]));
        assert_eq!((at(&a1, "loss.weighted"), at(&a2, "loss.weighted")), (&false.into(), &true.into()));
        assert_eq!(at(&a2, "attack"), at(low, "attack.inner"));
        assert!(differ(&a2, low).iter().all(|key| key.starts_with("attack.")), "{:?}", differ(&a2, low));
        assert_eq!(at(&a2, "attack.objective.type"), "ce");
        assert_eq!(differ(low, high), set(&["attack.beta1"]));
        close(low, "attack.beta1", 0.05);
        close(high, "attack.beta1", 0.1);
        assert!(cat.iter().chain([&a1, &a2]).all(|run| has_pgd(run, "pgd10", 10, "uniform")));
    }
    let a1 = run("figures/4_a1.yaml");
    close(&a1, "train.epochs", 140.0);
    close(&a1, "attacks.pgd10.eps", 8.0 / 255.0);
    close(&a1, "attacks.pgd10.alpha", 2.0 / 255.0);
}

/// The values that two keys of a file's runs take, and that the runs differ in nothing else.
fn grid(file: &str, keys: [&str; 2]) -> BTreeSet<[String; 2]> {
    let runs = runs(&[file.to_string()]);
    for run in &runs {
        let other = differ(run, &runs[0]).into_iter().find(|key| !keys.iter().any(|known| key.starts_with(known)));
        assert_eq!(other, None, "{file}");
    }
    let word = |run: &Value, key: &str| {
        let value = at(run, key);
        let number = || value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string());
        value["type"].as_str().map_or_else(number, String::from)
    };
    let found: BTreeSet<[String; 2]> = runs.iter().map(|run| keys.map(|key| word(run, key))).collect();
    assert_eq!(found.len(), runs.len());
    found
}

fn product(left: &[&str], right: &[&str]) -> BTreeSet<[String; 2]> {
    left.iter().flat_map(|one| right.iter().map(|two| [one.to_string(), two.to_string()])).collect()
}

const OBJECTIVE: &str = "attack.inner.objective";

#[test]
fn figures_5_and_6_and_table_8_have_the_papers_values() {
    for folder in FIGURES {
        let found = grid(&format!("{folder}/5_objectives.yaml"), [OBJECTIVE, "attack.beta1"]);
        assert_eq!(found, product(&["ce", "cw", "kl"], &["0.05", "0.1"]));
        let file = format!("{folder}/6_beta1.yaml");
        let beta1 = ["0.001", "0.005", "0.01", "0.05", "0.1", "0.2", "0.3"];
        assert_eq!(grid(&file, [OBJECTIVE, "attack.beta1"]), product(&["ce", "cw"], &beta1));
        assert!(runs(&[file]).iter().all(|run| has_pgd(run, "pgd20", 20, "none")));
    }
    let beta1 = grid("sweeps/table8_beta1.yaml", [OBJECTIVE, "attack.beta1"]);
    assert_eq!(beta1, product(&["ce", "cw"], &["0.05", "0.1", "0.2", "0.3"]));
    let beta = grid("sweeps/table8_beta.yaml", [OBJECTIVE, "loss.beta"]);
    assert_eq!(beta, product(&["ce", "cw"], &["5", "4", "3", "2", "1"]));
    for run in runs(&["sweeps/table8_beta1.yaml".into()]) {
        close(&run, "loss.beta", 5.0);
    }
    for run in runs(&["sweeps/table8_beta.yaml".into()]) {
        close(&run, "attack.beta1", 0.05);
    }
}

/// Appendix C says it of all trained models. The file that follows the authors' script has that
/// script's rule.
#[test]
fn every_checkpoint_is_chosen_by_natural_and_pgd_10() {
    let mut checked = 0;
    for folder in ["cifar10", "cifar100", "mnist", "sweeps", "table9", "figures"] {
        for file in files(&Path::new(FOLDER).join(folder)) {
            let name = file.strip_prefix(FOLDER).unwrap().to_str().unwrap().to_string();
            if header(&file).contains("Not a run by itself.") || name == "mnist/cat_cw_authors.yaml" {
                continue;
            }
            for run in runs(std::slice::from_ref(&name)) {
                assert_eq!(at(&run, "select"), "natural + pgd10", "{name}");
                assert!(has_pgd(&run, "pgd10", 10, "uniform"), "{name}");
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "{checked} runs");

    let authors = run("mnist/cat_cw_authors.yaml");
    assert_eq!(at(&authors, "select"), "natural + pgd20");
    assert!(has_pgd(&authors, "pgd20", 20, "none"));
    assert_eq!(at(&authors, "attacks.pgd20.clip"), &Value::from(false));
    close(&authors, "attacks.pgd20.eps", 0.3);
    close(&authors, "attacks.pgd20.alpha", 0.015);
    close(&authors, "attack.inner.start_eps", 0.1);
    assert_eq!(at(&authors, "optimizer.lr.milestones"), &serde_json::json!([31.0]));
}

#[test]
fn mnist_is_trained_as_the_text_says() {
    for (name, eps) in [("cat_cent", 0.3), ("cat_cw", 0.3), ("cat_cent_eps04", 0.4), ("cat_cw_eps04", 0.4)] {
        let run = run(&format!("mnist/{name}.yaml"));
        for (key, wanted) in [
            ("attack.inner.steps", 20.0),
            ("attack.inner.eps", eps),
            ("attack.inner.alpha", eps / 20.0),
            ("attack.beta1", 0.3),
            ("loss.beta", 1.0),
            ("train.epochs", 40.0),
            ("optimizer.lr.start", 0.001),
            ("optimizer.lr.gamma", 0.1),
            ("attacks.pgd20.eps", 0.3),
            ("attacks.pgd20.alpha", 0.015),
            ("attacks.pgd100.alpha", 0.015),
        ] {
            close(&run, key, wanted);
        }
        assert_eq!(at(&run, "optimizer.lr.milestones"), &serde_json::json!([30.0]), "{name}");
        assert_eq!((at(&run, "optimizer.type"), at(&run, "attack.inner.start")), (&"adam".into(), &"uniform".into()));
        if name.contains("cw") {
            close(&run, "attack.inner.objective.kappa", 150.0);
        }
    }
}

#[test]
fn cifar_is_trained_as_the_text_says() {
    for kind in ["cent", "cw"] {
        for (beta1, ends) in [("0.05", &["", "_wrn"][..]), ("0.1", &["", "_wrn"]), ("0.3", &["", "_wrn"])] {
            for end in ends {
                as_stated(&run(&format!("cifar10/cat_{kind}_{beta1}{end}.yaml")), beta1, 140.0, [100.0, 120.0]);
            }
            if beta1 != "0.3" {
                as_stated(&run(&format!("cifar100/cat_{kind}_{beta1}.yaml")), beta1, 120.0, [100.0, 110.0]);
            }
        }
    }
}

fn as_stated(run: &Value, beta1: &str, epochs: f64, milestones: [f64; 2]) {
    for (key, wanted) in [
        ("attack.inner.steps", 10.0),
        ("attack.inner.eps", 8.0 / 255.0),
        ("attack.inner.alpha", 2.0 / 255.0),
        ("attack.beta1", beta1.parse().unwrap()),
        ("loss.beta", 5.0),
        ("train.epochs", epochs),
        ("optimizer.momentum", 0.9),
        ("optimizer.weight_decay", 0.0005),
        ("optimizer.lr.start", 0.1),
        ("optimizer.lr.gamma", 0.1),
        ("attacks.pgd10.alpha", 2.0 / 255.0),
        ("attacks.pgd20.eps", 8.0 / 255.0),
        ("attacks.pgd20.alpha", 0.003),
        ("attacks.pgd100.alpha", 0.003),
        ("attacks.cw.eps", 0.031),
        ("attacks.cw.alpha", 0.003),
        ("attacks.cw.steps", 30.0),
        ("attacks.cw.objective.kappa", 50.0),
    ] {
        close(run, key, wanted);
    }
    if at(run, "attack.inner.objective.type") == "cw" {
        close(run, "attack.inner.objective.kappa", 50.0);
    }
    assert_eq!(at(run, "optimizer.lr.milestones"), &serde_json::json!(milestones));
    assert_eq!((at(run, "attack.inner.start"), at(run, "attack.inner.mode")), (&"uniform".into(), &"train".into()));
    assert_eq!((at(run, "attacks.pgd20.start"), at(run, "attacks.pgd100.start")), (&"none".into(), &"none".into()));
}
