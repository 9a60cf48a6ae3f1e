//! `foil table`: what runs were decides where they stand, beside the published figures.

mod tiny;

use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use tiny::{AT, Place};

const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");

/// Evaluates as the paper's, with these accuracies for natural, FGSM, PGD-20, PGD-100 and CW.
fn record(data: &str, eps: &str, seed: u64, accuracies: [f64; 5]) -> Value {
    let alpha = if eps == "0.3" { 0.015 } else { 0.003 };
    let radius = if eps == "0.3" { json!(0.3) } else { json!(eps) };
    let pgd = |steps: u64| json!({ "type": "pgd", "eps": radius, "alpha": alpha, "steps": steps, "start": "none" });
    let cw = json!({ "type": "pgd", "objective": { "type": "cw" }, "eps": 0.031, "alpha": 0.003, "steps": 30 });
    let attacks = [Value::Null, json!({ "type": "fgsm", "eps": radius }), pgd(20), pgd(100), cw];
    let names = ["natural", "fgsm", "pgd20", "pgd100", "cw"];
    let entries = names.iter().zip(attacks).zip(accuracies);
    let entries: Vec<Value> = entries
        .map(|((name, attack), accuracy)| json!({ "name": name, "attack": attack, "accuracy": accuracy, "seconds": 1.0 }))
        .collect();
    let eps = if eps == "0.3" { 0.3 } else { 8.0 / 255.0 };
    json!({
        "model": "m", "dataset": data, "threat": { "norm": "Linf", "eps": eps }, "precision": "fp32", "device": "cpu", "seed": seed,
        "n": 10000, "entries": entries, "avg": accuracies.iter().sum::<f64>() / 5.0, "foil_version": "0.1.0", "libtorch": "2.11.0",
        "date": "2026-11-22T00:00:00Z", "config_hash": "",
    })
}

/// The folder that a finished run of a shipped config would have left, as far as tables read it.
fn run(place: &Place, name: &str, config: &str, seed: u64, record: Option<Value>) {
    let words = [&format!("{CONFIGS}/{config}.yaml"), &format!("seed={seed}"), "name=anything", "--print"]
        .map(|word| word.to_string());
    let printed =
        place.foil(&[&["check", "--no-run"][..], &words.iter().map(String::as_str).collect::<Vec<_>>()].concat()).ok();
    let (_, yaml) = printed.out.split_once("\n\n").unwrap();
    let folder = place.path(&format!("runs/{name}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("resolved.yaml"), yaml).unwrap();
    if let Some(record) = record {
        fs::write(folder.join("eval.json"), record.to_string()).unwrap();
    }
}

/// Two seeds of AT and one CAT_cw of Table 2, one run that was only trained, and one of Table 1.
fn place() -> Place {
    let place = Place::with("");
    let cifar = |seed, accuracies| Some(record("cifar10", "8/255", seed, accuracies));
    run(&place, "a0", "cifar10/at", 0, cifar(0, [82.0, 57.0, 52.0, 51.0, 50.0]));
    run(&place, "a1", "cifar10/at", 1, cifar(1, [84.0, 59.0, 54.0, 53.0, 52.0]));
    run(&place, "c", "cifar10/cat_cw_0.05", 0, cifar(0, [84.7, 58.9, 55.3, 54.5, 51.3]));
    run(&place, "t", "cifar10/trades", 0, None);
    run(&place, "m", "mnist/cat_cw_eps04", 0, Some(record("mnist", "0.3", 0, [99.0, 98.0, 97.0, 96.0, 95.0])));
    place
}

/// The cells of the CSV lines of a method: ours, the paper's, the difference.
fn lines(csv: &str, method: &str) -> Vec<Vec<String>> {
    let lines = csv.lines().skip_while(|line| !line.starts_with(method));
    let lines = lines.enumerate().take_while(|(n, line)| *n == 0 || line.starts_with(','));
    lines.map(|(_, line)| line.split(',').map(str::to_string).collect()).collect()
}

#[test]
fn ours_stand_beside_the_papers() {
    let place = place();
    let ended = place.foil(&["table", "2", "--format", "csv"]).ok();
    let at = lines(&ended.out, "AT,");
    // Means of 82 and 84, of 57 and 59 …; their deviation is the root of 2. The paper has 83.0 57.3
    // 52.9 51.9 50.9 59.2.
    assert_eq!(at[0][2..5], ["83.0", "1.4142135623730951", "58.0"], "{}", ended.out);
    let column = |line: &[String]| line[2..].iter().step_by(2).cloned().collect::<Vec<_>>();
    assert_eq!(column(&at[1]), ["83.0", "57.3", "52.9", "51.9", "50.9", "59.2"]);
    assert_eq!(column(&at[2]), ["0.0", "+0.7", "+0.1", "+0.1", "+0.1", "+0.2"]);
    let cat = lines(&ended.out, "CAT_cw (beta1 0.05)");
    assert_eq!(column(&cat[2]), ["+0.5", "0.0", "0.0", "0.0", "0.0", "0.0"], "{cat:?}");
    assert_eq!(lines(&ended.out, "MART").len(), 2, "nothing to subtract from: {}", ended.out);
    for said in [
        "runs/t is not evaluated",
        "in no row of this table: anything (runs/m)",
        "missing: MART: foil train configs/cifar10/mart.yaml",
    ] {
        assert!(ended.err.contains(said), "{said}: {}", ended.err);
    }
    assert!(ended.err.contains("evaluated on different data sets"), "{}", ended.err);

    let one = place.foil(&["table", "1", "runs/m", "--format", "csv"]).ok();
    assert_eq!(lines(&one.out, "CAT_cw (eps 0.4)")[2][2..], ["-0.1", "-0.1", "-0.2"], "{}", one.out);
    let terminal = place.foil(&["table", "2"]).ok();
    assert!(
        terminal.out.contains("83.0 ± 1.4") && terminal.out.contains("missing: TRADES: foil train"),
        "{}",
        terminal.out
    );
}

// A random start finds some points less than the image itself.
#[test]
fn table_1_takes_attacks_that_start_at_the_image() {
    let place = Place::with("");
    let mut weak = record("mnist", "0.3", 0, [99.0, 98.0, 97.0, 96.0, 95.0]);
    weak["entries"][2]["attack"]["start"] = json!("uniform");
    run(&place, "weak", "mnist/cat_cw_eps04", 0, Some(weak));
    let ended = place.foil(&["table", "1", "--format", "csv"]).ok();
    assert_eq!(lines(&ended.out, "CAT_cw (eps 0.4)")[0][2..], ["99.0", "", "96.0"], "{}", ended.out);
    assert!(
        ended.err.contains("PGD-20 of runs/weak is left out: its `start` is not the paper's (none)"),
        "{}",
        ended.err
    );
}

#[test]
fn an_attack_that_is_not_the_papers_is_left_out() {
    let place = Place::with("");
    let mut weak = record("cifar10", "8/255", 0, [82.0, 57.0, 52.0, 51.0, 50.0]);
    weak["entries"][2]["attack"]["steps"] = json!(2);
    run(&place, "weak", "cifar10/at", 0, Some(weak));
    let ended = place.foil(&["table", "2", "--format", "csv"]).ok();
    assert_eq!(lines(&ended.out, "AT,")[0][2..], ["82.0", "57.0", "", "51.0", "50.0", ""], "{}", ended.out);
    assert!(
        ended.err.contains("PGD-20 of runs/weak is left out: its `steps` is not the paper's (20)"),
        "{}",
        ended.err
    );
    // Other settings of the same method are not the row's either way; both are shown, none is
    // chosen.
    run(&place, "long", "cifar10/at", 0, Some(record("cifar10", "8/255", 0, [82.5, 57.0, 52.0, 51.0, 50.0])));
    let yaml = fs::read_to_string(place.path("runs/long/resolved.yaml")).unwrap();
    fs::write(place.path("runs/long/resolved.yaml"), yaml.replace("epochs: 200", "epochs: 100")).unwrap();
    let both = place.foil(&["table", "2"]).ok();
    assert!(
        both.out.contains("AT [anything (runs/long)]") && both.out.contains("AT [anything (runs/weak)]"),
        "{}",
        both.out
    );
}

#[test]
fn every_table_is_there_without_runs_and_its_commands_name_files() {
    let place = Place::with("");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut document =
        "\\documentclass{article}\\usepackage[landscape]{geometry}\\usepackage{booktabs}\\begin{document}\\tiny\n"
            .to_string();
    for number in ["1", "2", "3", "4", "7", "8", "9"] {
        let ended = place.foil(&["table", number]).ok();
        let commands: Vec<&str> = ended.out.lines().filter_map(|line| Some(line.split_once("foil ")?.1)).collect();
        assert!(!commands.is_empty(), "{}", ended.out);
        for command in commands {
            let file = command.split(' ').nth(1).unwrap();
            assert!(root.join(file).exists(), "table {number}: {command}");
        }
        let latex = place.foil(&["table", number, "--format", "latex"]).ok().out;
        let body: Vec<&str> = latex.lines().filter(|line| line.ends_with(" \\\\")).collect();
        let cells = |line: &str| line.matches(" & ").count();
        assert!(body.len() > 5 && body.iter().all(|line| cells(line) == cells(body[0])), "{latex}");
        document += &latex;
        assert!(place.foil(&["table", number, "--format", "markdown"]).ok().out.starts_with("**CAT paper, Table "));
    }
    // The real thing, where there is one.
    document += "\\end{document}\n";
    fs::write(place.path("t.tex"), document).unwrap();
    if Command::new("pdflatex").arg("--version").output().is_ok() {
        let made =
            place.command("pdflatex", &["-interaction=nonstopmode", "-halt-on-error", "t.tex"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    }
    let four = place.foil(&["table", "4"]).ok();
    assert!(four.out.contains("'attacks.square={ type: square, eps: 8/255, n_queries: 5000 }'"), "{}", four.out);
    let err = place.foil(&["table", "5"]).error();
    assert!(err.contains("there is no table `5`") && err.contains("1, 2, 3, 4, 7, 8, 9"), "{err}");
    let err = place.foil(&["table", "2", "nowhere"]).error();
    assert!(err.contains("nowhere does not exist"), "{err}");
}

/// `runs/*` of a shell names what is beside the runs too.
#[test]
fn folders_and_files_without_a_run_are_notes() {
    let place = place();
    fs::create_dir(place.path("runs/configs")).unwrap();
    fs::write(place.path("runs/table.md"), "").unwrap();
    let words = ["table", "2", "runs/a0", "runs/configs", "runs/table.md", "--format", "csv"];
    let ended = place.foil(&words).ok();
    assert_eq!(lines(&ended.out, "AT,")[0][2], "82.0", "{}", ended.out);
    for path in ["runs/configs", "runs/table.md"] {
        assert!(ended.err.contains(&format!("note: {path} holds no run and is left out")), "{}", ended.err);
    }
    let err = place.foil(&["table", "2", "runs/configs", "runs/table.md"]).error();
    assert!(err.contains("there is no run in runs/configs, runs/table.md: no resolved.yaml"), "{err}");
}

#[test]
fn tables_of_their_own() {
    let place = place();
    let plain = place.foil(&["table", "accuracy", "runs/a0", "runs/a1", "runs/c", "--format", "markdown"]).ok();
    assert!(plain.out.contains("| 2 | 83.00 ± 1.41 |"), "{}", plain.out);
    let err = place.foil(&["table", "per-class", "runs/c"]).error();
    assert!(err.contains("no run has stored its images under `cw`") && err.contains("foil eval"), "{err}");
    let mut images = "index,label,natural,natural.margin,cw,cw.margin,broken_by\n".to_string();
    (0..10_000).for_each(|i| images += &format!("{i},{},1,1,{},1,\n", i % 10, u8::from(i % 10 != 3 && i < 5000)));
    fs::write(place.path("runs/c/eval.images.csv"), images).unwrap();
    let classes = place.foil(&["table", "per-class", "runs/c", "--format", "csv"]).ok();
    let [head, row] = classes.out.lines().collect::<Vec<_>>()[..] else { panic!("{}", classes.out) };
    assert!(
        head.starts_with("model,airplane") && row == "anything,50.0,50.0,50.0,0.0,50.0,50.0,50.0,50.0,50.0,50.0",
        "{head} {row}"
    );

    let out = place.foil(&["table", "robustbench", "runs/c", "--out", "c.json"]).ok();
    assert_eq!(out.out, "c.json\n");
    let records: Value = serde_json::from_str(&fs::read_to_string(place.path("c.json")).unwrap()).unwrap();
    let record = &records[0];
    let expected = [
        ("eps", "8/255"),
        ("clean_acc", "84.70"),
        ("architecture", "PreActResNet-18"),
        ("dataset", "cifar10"),
        ("reported", "51.30"),
    ];
    expected.iter().for_each(|(key, value)| assert_eq!(record[key], *value, "{record}"));
    assert!(
        record["autoattack_acc"].is_null() && record["unreliable"] == false && record["number_forward_passes"] == 1,
        "{record}"
    );
}

/// The card by the rules of RobustBench's own reader: texts with two decimals, a text for eps, a
/// truth value for additional data.
#[test]
fn a_submission_to_robustbench() {
    let place = Place::with(&AT.replace("epochs: 3", "epochs: 1"));
    let run = place.train("run", &["extra={ data: mnist_subset, share: 0.5, limit: 2000 }"]);
    let words = ["robustbench", "run", "--title", "The Robust Digits", "--authors", "Ada Lovelace, Alan Turing"];
    let error = place.foil(&words).error();
    assert!(error.contains("run is not evaluated") && error.contains("evaluate=[natural,autoattack]"), "{error}");

    let entry = |name: &str, attack: Value, accuracy: f64| json!({ "name": name, "attack": attack, "accuracy": accuracy, "seconds": 1.0 });
    let mut record = json!({
        "model": "at", "dataset": "mnist_subset", "threat": { "norm": "Linf", "eps": 0.3 }, "precision": "fp32",
        "device": "cpu", "seed": 0, "n": 40, "worst_case": 51.5, "avg": null, "foil_version": "0.1.0",
        "libtorch": "2.11.0", "date": "2026-11-30T00:00:00Z", "config_hash": "", "epoch": 1,
        "entries": [entry("natural", Value::Null, 97.5), entry("autoattack", json!({ "type": "autoattack", "eps": 0.3 }), 52.25)],
    });
    let write = |record: &Value| fs::write(run.file("eval.json"), record.to_string()).unwrap();
    write(&record);
    let error = place.foil(&words).error();
    assert!(error.contains("its evaluation has 40 images, but a leaderboard takes all 2000"), "{error}");
    record["n"] = json!(2000);
    write(&record);

    let ended = place.foil(&words).ok();
    assert!(ended.err.contains("RobustBench has leaderboards for cifar10, cifar100, imagenet"), "{}", ended.err);
    let year = &this_year();
    let name = format!("Lovelace{year}Robust");
    let read = |file: &str| fs::read_to_string(run.file(&format!("robustbench/{file}"))).unwrap();
    let card: Value = serde_json::from_str(&read(&format!("{name}.json"))).unwrap();
    let two_decimals = |text: &str| text.split_once('.').is_some_and(|(_, decimals)| decimals.len() == 2);
    for key in ["clean_acc", "reported", "autoattack_acc", "external"] {
        assert!(card[key].as_str().is_some_and(two_decimals), "{key}: {card}");
    }
    for key in ["link", "name", "authors", "dataset", "venue", "architecture", "eps"] {
        assert!(card[key].is_string(), "{key}: {card}");
    }
    let known = [
        "link",
        "name",
        "authors",
        "additional_data",
        "number_forward_passes",
        "dataset",
        "venue",
        "architecture",
        "eps",
        "clean_acc",
        "reported",
        "autoattack_acc",
        "external",
        "footnote",
        "unreliable",
    ];
    assert!(card.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{card}");
    assert_eq!((&card["autoattack_acc"], &card["external"]), (&json!("52.25"), &json!("51.50")));
    assert_eq!((&card["additional_data"], &card["number_forward_passes"]), (&json!(true), &json!(1)));

    place.foil(&[&words[..], &["--synthetic", "--out", "again"]].concat()).ok();
    let card: Value =
        serde_json::from_str(&fs::read_to_string(place.path(&format!("again/{name}.json"))).unwrap()).unwrap();
    assert_eq!(card["additional_data"], false);
    assert_eq!(card["footnote"], "It uses additional 2K synthetic images in training.");
    assert!(
        read("SUBMISSION.md").contains("- Threat model: Linf 0.3") && read("model.py").contains(&format!("{name}.pt"))
    );
    // The weights are those of the run.
    let program = tch::CModule::load(run.file(&format!("robustbench/{name}.pt"))).unwrap();
    let logits =
        program.forward_ts(&[tch::Tensor::zeros([1, 1, 28, 28], (tch::Kind::Float, tch::Device::Cpu))]).unwrap();
    assert_eq!(logits.size(), [1, 10]);
}

/// This year, as the program's clock has it.
fn this_year() -> String {
    let days = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    // Good to a day at the turn of a year.
    (1970 + (days as f64 / 365.2425) as u64).to_string()
}

/// A leaderboard's figure is the worst case of each image, which may be below every attack's own.
#[test]
fn a_reported_figure_is_never_above_the_worst_case() {
    let place = place();
    let path = place.path("runs/c/eval.json");
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    record["worst_case"] = serde_json::json!(49.75);
    fs::write(&path, record.to_string()).unwrap();
    let out = place.foil(&["table", "robustbench", "runs/c"]).ok();
    let records: Value = serde_json::from_str(&out.out).unwrap();
    assert_eq!(records[0]["reported"], "49.75", "{}", out.out);
}

/// A run that was copied, or trained twice with one seed, is no second seed.
#[test]
fn a_run_that_is_there_twice_counts_once() {
    let place = place();
    run(&place, "again", "cifar10/at", 0, Some(record("cifar10", "8/255", 0, [82.0, 57.0, 52.0, 51.0, 50.0])));
    let ended = place.foil(&["table", "accuracy", "runs/a0", "runs/again", "runs/c", "--format", "csv"]).ok();
    let note = "note: runs/again repeats the run runs/a0 (seed 0, the same figures) and counts once";
    assert!(ended.err.contains(note), "{}", ended.err);
    assert!(!ended.out.contains("seeds") && !ended.out.contains('±'), "{}", ended.out);
    place.foil(&["report", "runs/a0", "runs/again", "--images", "0"]).ok();
    assert!(fs::read_to_string(place.path("report.html")).unwrap().contains("and counts once"));
    // The same seed with other figures, as on a GPU, is a run of its own.
    run(&place, "other", "cifar10/at", 0, Some(record("cifar10", "8/255", 0, [82.1, 57.0, 52.0, 51.0, 50.0])));
    let ended = place.foil(&["table", "accuracy", "runs/a0", "runs/other", "--format", "csv"]).ok();
    assert!(!ended.err.contains("counts once") && ended.out.contains("seeds"), "{} {}", ended.out, ended.err);
}

#[test]
fn runs_that_cannot_be_read_are_named() {
    let place = place();
    fs::write(place.path("runs/c/resolved.yaml"), "attack: [").unwrap();
    let ended = place.foil(&["table", "accuracy", "runs/a0", "runs/c"]).ok();
    assert!(
        ended.err.contains("note: left out: not valid YAML") && ended.err.contains("runs/c/resolved.yaml"),
        "{}",
        ended.err
    );
    for words in [&["table", "accuracy", "runs/c"][..], &["report", "runs/c"]] {
        let err = place.foil(words).error();
        assert!(err.contains("none of these runs can be read") && err.contains("runs/c/resolved.yaml"), "{err}");
    }
}

/// Imported weights have pipelines that are alike: that makes them no seeds of one method, and
/// there is no training to resume.
#[test]
fn imported_models_are_methods_of_their_own() {
    let place = Place::with("");
    let golden = |name: &str| format!("{}/tests/checkpoints/{name}", env!("CARGO_MANIFEST_DIR"));
    let evaluated = record("cifar10", "8/255", 0, [82.0, 57.0, 52.0, 51.0, 50.0]).to_string();
    for name in ["one", "two"] {
        fs::copy(golden("trades.pt"), place.path(&format!("{name}.pt"))).unwrap();
        place.foil(&["import", &format!("{name}.pt")]).ok();
        fs::write(place.path(&format!("runs/{name}/eval.json")), &evaluated).unwrap();
    }
    let ended = place.foil(&["table", "accuracy", "--format", "csv"]).ok();
    assert!(ended.out.contains("\none,") && ended.out.contains("\ntwo,") && !ended.out.contains('±'), "{}", ended.out);
    assert!(!ended.err.contains("epochs") && !ended.err.contains("once more"), "{}", ended.err);
}
