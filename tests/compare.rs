//! `foil compare`: every run once, means over seeds, paired tests, and the notes when runs are not
//! comparable.

mod ranks;
mod tiny;

use ranks::Ranks;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};
use tiny::{AT, Place, Run};

/// `tiny.yaml` is AT, `other.yaml` the same with another radius; both train for one epoch.
fn place() -> Place {
    let place = Place::with(&AT.replace("epochs: 3", "epochs: 1"));
    fs::write(place.path("other.yaml"), "extends: tiny.yaml\nname: other\nattack: { eps: 0.1 }\n").unwrap();
    place
}

const COMPARE: [&str; 3] = ["compare", "tiny.yaml", "other.yaml"];

fn compare(more: &[&'static str]) -> Vec<&'static str> {
    [&COMPARE[..], more].concat()
}

/// A run's record without its digests, which would not hold once something is changed.
fn record(run: &Run) -> Value {
    let mut record = run.json("eval.json");
    ["digest", "images"].iter().for_each(|key| drop(record.as_object_mut().unwrap().remove(*key)));
    record
}

/// Puts other figures into a record: `natural` and `pgd2` in percent.
fn set(place: &Place, run: &str, natural: f64, pgd2: f64) {
    let run = place.run(run);
    let mut record = record(&run);
    record["entries"][0]["accuracy"] = json!(natural);
    record["entries"][1]["accuracy"] = json!(pgd2);
    record["avg"] = json!((natural + pgd2) / 2.0);
    fs::write(run.file("eval.json"), record.to_string()).unwrap();
}

/// Stores the images of a record: of 50, right under `natural` are all, under `pgd2` those for
/// which `right` is true.
fn images(place: &Place, run: &str, right: impl Fn(usize) -> bool) {
    let mut text = "index,label,natural,natural.margin,pgd2,pgd2.margin,broken_by\n".to_string();
    for i in 0..50 {
        let (hit, by) = if right(i) { (1, "") } else { (0, "pgd2") };
        text += &format!("{i},{},1,1.0,{hit},0.5,{by}\n", i % 10);
    }
    let run = place.run(run);
    fs::write(run.file("eval.images.csv"), text).unwrap();
    fs::write(run.file("eval.json"), record(&run).to_string()).unwrap();
}

#[test]
fn runs_are_made_once_and_summed_up_over_seeds() {
    let place = place();
    let plan = place.foil(&compare(&["--seeds", "2", "--dry-run"])).ok();
    assert!(plan.out.contains("0 of 4 runs done") && plan.out.matches("needs training").count() == 4, "{}", plan.out);
    assert!(!place.path("runs").exists());

    let ended = place.foil(&compare(&["--seeds", "2", "--devices", "cpu,cpu"])).ok();
    assert!(ended.err.contains("[other (seed 8)] folder: runs/other-seed8"), "{}", ended.err);
    // From the third on it is known how long a run takes.
    assert_eq!(ended.err.matches(" left for all runs").count(), 2, "{}", ended.err);
    assert!(ended.out.contains("4 of 4 runs") && ended.out.contains("natural + pgd2 on test images"), "{}", ended.out);
    let runs = ["tiny", "tiny-seed8", "other", "other-seed8"];
    let stamps =
        || runs.map(|run| fs::metadata(place.path(&format!("runs/{run}/eval.json"))).unwrap().modified().unwrap());
    let before = stamps();

    // Again, and one under another name: nothing is trained or evaluated.
    fs::write(place.path("renamed.yaml"), "extends: other.yaml\nname: renamed\ndevice: auto\n").unwrap();
    let again = place.foil(&["compare", "tiny.yaml", "renamed.yaml", "other.yaml", "--seeds", "2"]).ok();
    assert_eq!(
        (again.err.matches("already done").count(), again.err.matches("run 1 of").count()),
        (4, 0),
        "{}",
        again.err
    );
    assert!(again.out.contains("other (other.yaml) is the same run as renamed (renamed.yaml)"), "{}", again.out);
    assert_eq!(stamps(), before);

    // statistics.mean and stdev of [90, 94] and [60, 63]: 92, 2.828427…; 61.5, 2.121320…
    set(&place, "runs/tiny", 90.0, 60.0);
    set(&place, "runs/tiny-seed8", 94.0, 63.0);
    set(&place, "runs/other", 70.0, 50.0);
    set(&place, "runs/other-seed8", 72.0, 52.0);
    for run in ["tiny", "tiny-seed8"] {
        images(&place, &format!("runs/{run}"), |i| i < 30);
    }
    images(&place, "runs/other", |i| (10..32).contains(&i));
    let ended = place.foil(&compare(&["--seeds", "2", "--gather"])).ok();
    assert!(ended.out.contains("92.00 ± 2.83") && ended.out.contains("61.50 ± 2.12"), "{}", ended.out);
    let gathered: Value = place.run("runs/compare").json("compare.json");
    let row = &gathered["rows"][0];
    assert_eq!(row["accuracy"]["natural"]["mean"], 92.0);
    assert!((row["accuracy"]["pgd2"]["std"].as_f64().unwrap() - 4.5f64.sqrt()).abs() < 1e-12, "{row}");
    assert_eq!((&row["runs"][1]["seed"], &row["avg"]["n"]), (&json!(8), &json!(2)));
    // Over seeds, with scipy: v = (var(x, ddof=1) + (100/50)^2 / 12) / 2 of [50, 52] and [60,
    //     63], Welch's degrees,
    // 2 * stats.t(df).cdf(-10.5 / sqrt(va + vb)): 0.0397303;
    // of [70, 72] and [90, 94]: 0.0263346, which Holm doubles.
    let against = &gathered["rows"][1]["against_baseline"]["pgd2"];
    assert_eq!(
        (&against["unit"], &against["seeds"], &against["points"]),
        (&json!("seeds"), &json!([2, 2]), &json!(-10.5))
    );
    let close = |field: &str, expected: f64| (against[field].as_f64().unwrap() - expected).abs() < 1e-6;
    assert!(close("p", 0.0397303258) && close("p_holm", 2.0 * 0.0263346148), "{against}");
    assert!(close("low", -19.67235027) && close("high", -1.32764973), "{against}");
    for part in [
        "Difference to tiny",
        "0.053",
        "0.040",
        "-10.50",
        "-19.67 to -1.33",
        "Methods over their seeds",
        "2 seeds are few",
    ] {
        assert!(ended.out.contains(part), "{part} is not in {}", ended.out);
    }
    let compared = place.run("runs/compare");
    assert!(compared.text("table.md").contains("-19.67 to -1.33") && compared.text("table.tex").contains("0.053"));
    let tests = compared.text("differences.csv");
    assert_eq!(tests.lines().next(), Some("model,baseline,attack,unit,seeds,baseline_seeds,points,low,high,p,p_holm"));
    assert!(tests.lines().nth(2).unwrap().starts_with("other,tiny,pgd2,seeds,2.0,2.0,-10.5,"), "{tests}");

    // One seed: tiny alone is right on 10 images, other alone on 2: p = 2 (1 + 12 + 66) / 2^12.
    let single = place.foil(&compare(&["--gather", "--out", "single"])).ok();
    let gathered: Value = place.run("single").json("compare.json");
    let against = &gathered["rows"][1]["against_baseline"]["pgd2"];
    assert_eq!((&against["unit"], &against["points"]), (&json!("images"), &json!(-16.0)));
    assert!((against["p"].as_f64().unwrap() - 158.0 / 4096.0).abs() < 1e-12, "{against}");
    let (low, high) = (against["low"].as_f64().unwrap(), against["high"].as_f64().unwrap());
    assert!(low > -24.0 && low < -16.0 && high > -16.0 && high < 0.0, "{against}");
    let says = "One seed: this pair of networks, not these methods";
    assert!(single.out.contains(says) && single.out.contains("0.039") && !single.out.contains("seeds are few"));
    // Class 0 of five images: right are 0, 10 and 20.
    let page = place.run("runs/compare").text("table.md");
    assert!(page.contains("Accuracy of each class under PGD-2") && page.contains("60.0 ± 0.0"), "{page}");
    let other = place.foil(&compare(&["--seeds", "2", "--gather", "--baseline", "other"])).ok();
    assert!(other.out.contains("Difference to other") && other.out.contains("+10.50"), "{}", other.out);
    let err = place.foil(&compare(&["--baseline", "othr"])).error();
    assert!(err.contains("no row is called `othr`") && err.contains("did you mean `other`"), "{err}");

    // Another evaluation: evaluated again, not trained. Its radius differs from the other row's,
    // which is said.
    let state = || fs::metadata(place.path("runs/other/state.safetensors")).unwrap().modified().unwrap();
    let trained = state();
    let far = "extends: other.yaml\nattacks: { far: { type: fgsm, eps: 0.2 } }\nevaluate: [natural, far]\n";
    fs::write(place.path("far.yaml"), format!("{far}name: far\n")).unwrap();
    let ended = place.foil(&["compare", "tiny.yaml", "far.yaml"]).ok();
    assert!(ended.out.contains("evaluated") && !ended.err.contains("epoch 1/1"), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("evaluated under different threat models"), "{}", ended.out);
    assert_eq!(state(), trained);
    let again = place.foil(&["compare", "tiny.yaml", "far.yaml"]).ok();
    assert_eq!(again.err.matches("already done").count(), 2, "{}", again.err);
}

#[test]
fn killed_it_goes_on_to_the_same_result() {
    let place = Place::with(AT);
    fs::write(place.path("other.yaml"), "extends: tiny.yaml\nname: other\nseed: 9\n").unwrap();
    let mut running = place.start(&COMPARE);
    assert!(running.wait_for("epoch 1/3"));
    assert!(running.kill(), "it ended before it could be killed");
    let ended = place.foil(&COMPARE).ok();
    assert!(ended.out.contains("2 of 2 runs") && ended.out.contains("resumed"), "{}{}", ended.out, ended.err);
    let alone = place.train("alone", &[]);
    place.run("runs/tiny").assert_same(&alone);
}

#[test]
fn a_run_that_another_process_trains_is_waited_for() {
    let place = Place::with(&AT.replace("epochs: 3", "epochs: 15"));
    let mut running = place.start(&["train", "tiny.yaml", "--run-dir", "runs/mine"]);
    assert!(running.wait_for("epoch 1/15"));
    let ended = place.foil(&["compare", "tiny.yaml"]).ok();
    assert_eq!(running.end().code, Some(0));
    assert!(ended.err.contains("waiting: another process (pid "), "{}", ended.err);
    assert!(!ended.err.contains("epoch ") && ended.out.contains("runs/mine"), "{}{}", ended.out, ended.err);
}

#[test]
fn a_run_that_fails_is_a_note_and_the_exit_code_says_so() {
    let place = place();
    fs::write(place.path("bad.yaml"), "extends: tiny.yaml\nname: bad\noptimizer: { lr: 1.0e+30 }\n").unwrap();
    let ended = place.foil(&["compare", "bad.yaml", "tiny.yaml"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.out.contains("note: bad failed: epoch 1") && ended.out.contains("1 of 2 runs, "), "{}", ended.out);
    assert!(ended.err.contains("1 of 2 runs failed; run the same command to retry them"), "{}", ended.err);
    assert!(place.run("runs/compare").text("table.csv").contains("bad,,,"));
}

#[test]
fn what_does_not_go_together_is_refused_before_anything_is_trained() {
    let place = place();
    fs::write(place.path("mnist.yaml"), "extends: tiny.yaml\nname: all\ndata: mnist\n").unwrap();
    let err = place.foil(&["compare", "tiny.yaml", "mnist.yaml"]).error();
    assert!(err.contains("different data sets: tiny is on mnist_subset, all on mnist"), "{err}");
    let err = place.foil(&compare(&["--devices", "cuda:99"])).error();
    assert!(err.contains("--devices: `cuda:99` does not exist"), "{err}");
    let err = place.foil(&["compare", "tiny.yaml", "attack.eps=8"]).error();
    assert!(err.contains("`attack.eps` is 8"), "{err}");
    let err = place.foil(&["compare", "train.epochs=1"]).error();
    assert!(err.contains("no file given"), "{err}");
    let err = place.foil(&["compare", "tiny.yaml", "sweep={ seed: [1, 2] }", "--seeds", "2"]).error();
    assert!(err.contains("sweeps the seed"), "{err}");
    assert!(!place.path("runs").exists());
}

#[test]
fn a_slurm_task_is_one_run_and_the_table_comes_after() {
    let place = place();
    let words = ["compare", "tiny.yaml", "other.yaml", "evaluate=[natural, pgd2]"];
    let ended = place.foil(&[&words[..], &["--slurm", "jobs"]].concat()).ok();
    assert!(ended.out.contains("bash jobs/submit.sh") && ended.out.contains("--gather"), "{}", ended.out);
    for script in ["jobs/array.sh", "jobs/submit.sh"] {
        assert!(Command::new("bash").arg("-n").arg(place.path(script)).status().unwrap().success(), "{script}");
    }
    let script = fs::read_to_string(place.path("jobs/array.sh")).unwrap();
    assert!(script.contains("#SBATCH --array=0-1\n") && !script.contains("gpu"), "{script}");
    let task = |n: &str| {
        let mut bash = place.command("bash", &["jobs/array.sh"]);
        let output = bash.env("SLURM_ARRAY_TASK_ID", n).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, err) = task("1");
    assert!(code == Some(0) && err.contains("folder: runs/other"), "{err}");
    let (code, err) = task("1");
    assert!(code == Some(0) && err.contains("already done") && !err.contains("epoch 1/1"), "{err}");
    assert!(!place.path("runs/tiny").exists() && !place.path("runs/compare").exists());

    let ended = place.foil(&[&words[..], &["--gather"]].concat());
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.out.contains("note: tiny is missing: needs training") && ended.out.contains("1 of 2"),
        "{}",
        ended.out
    );

    // A list that has changed is not worked on by number.
    fs::write(place.path("other.yaml"), "extends: tiny.yaml\nname: other\nattack: { eps: 0.2 }\n").unwrap();
    let (code, err) = task("0");
    assert!(code == Some(1) && err.contains("the list of runs has changed since this job was written"), "{err}");
}

#[test]
fn ranks_share_the_runs_and_one_takes_up_what_another_leaves() {
    let place = Place::with(&AT.replace("epochs: 3", "epochs: 4"));
    fs::write(place.path("other.yaml"), "extends: tiny.yaml\nname: other\nseed: 9\n").unwrap();
    let alone = |file, run| {
        place.foil(&["train", file, "--run-dir", run]).ok();
        place.run(run)
    };
    let (tiny, other) = (alone("tiny.yaml", "alone/tiny"), alone("other.yaml", "alone/other"));

    let ranks = Ranks::start(&place, 2, &COMPARE);
    // The second rank begins with the second run.
    let started = Instant::now();
    while !place.path("runs/other/state.safetensors").exists() && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    ranks.signal(1, "KILL");
    let ended = ranks.end(Duration::from_secs(60));
    assert_eq!([ended[0].code, ended[1].code], [Some(0), None], "{}", ended[0].err);
    let (told, lost) = (&ended[0].err, &ended[1].err);
    assert!(told.contains("run 1 of 2: tiny\n") && lost.contains("run 2 of 2: other\n"), "{told}{lost}");
    assert!(!lost.contains("epoch 4/4") && told.contains("[other] epoch 4/4"), "{told}{lost}");
    place.run("runs/tiny").assert_same(&tiny);
    place.run("runs/other").assert_same(&other);
    let table = place.run("runs/compare").text("table.csv");
    assert!(table.contains("\ntiny,") && table.contains("\nother,"), "{table}");
    // Each run was trained by one process, not by both together.
    assert!(!place.run("runs/tiny").text("log.txt").contains("rank"));

    // What is there is found by both; one of them says so.
    let ended = Ranks::start(&place, 2, &COMPARE).ok();
    assert_eq!((ended[0].err.matches("already done").count(), ended[1].err.as_str()), (2, ""), "{}", ended[0].err);
}

#[test]
fn what_one_rank_tried_in_vain_is_told_by_the_first_and_not_tried_by_all() {
    let place = place();
    fs::write(place.path("bad.yaml"), "extends: tiny.yaml\nname: bad\noptimizer: { lr: 1.0e+30 }\n").unwrap();
    for _ in 0..2 {
        let ended = Ranks::start(&place, 2, &["compare", "tiny.yaml", "bad.yaml"]).end(Duration::from_secs(60));
        assert_eq!([ended[0].code, ended[1].code], [Some(1), Some(0)], "{}{}", ended[0].err, ended[1].err);
        let tries = |rank: usize| ended[rank].err.matches("run 2 of 2: bad").count();
        assert_eq!(tries(0) + tries(1), 1, "{}{}", ended[0].err, ended[1].err);
        assert!(ended[0].err.contains("1 of 2 runs failed; run the same command to retry them"), "{}", ended[0].err);
        assert!(place.run("runs/compare").text("table.md").contains("bad failed: epoch 1"));
    }
}

/// MNIST's four files with nothing on the images; `label` gives each image's.
fn digits(place: &Place, folder: &str, label: fn(usize) -> u8) {
    fs::create_dir(place.path(folder)).unwrap();
    for (part, n) in [("train", 60_000u32), ("t10k", 10_000)] {
        let head = |magic: u32, sizes: &[u32]| -> Vec<u8> {
            [&[magic][..], sizes].concat().into_iter().flat_map(u32::to_be_bytes).collect()
        };
        let file = |name: &str| place.path(&format!("{folder}/{part}-{name}"));
        fs::write(file("images-idx3-ubyte"), head(2051, &[n, 28, 28])).unwrap();
        let images = fs::OpenOptions::new().write(true).open(file("images-idx3-ubyte")).unwrap();
        images.set_len(16 + u64::from(n) * 784).unwrap();
        let labels: Vec<u8> = (0..n as usize).map(label).collect();
        fs::write(file("labels-idx1-ubyte"), [head(2049, &[n]), labels].concat()).unwrap();
    }
}

#[test]
fn what_a_run_was_made_from_decides_which_run_it_is() {
    let place = Place::with(&AT.replace("epochs: 3", "epochs: 1").replace("[natural, pgd2]", "[natural]"));
    digits(&place, "one", |i| (i % 10) as u8);
    digits(&place, "two", |i| ((i + 1) % 10) as u8);
    for name in ["one", "two"] {
        let yaml = format!("extends: tiny.yaml\nname: {name}\ndata: {{ type: mnist, path: {name} }}\n");
        fs::write(place.path(&format!("{name}.yaml")), yaml).unwrap();
    }
    // The same files elsewhere are the same data.
    fs::create_dir(place.path("moved")).unwrap();
    fs::rename(place.path("one"), place.path("moved/mnist")).unwrap();
    std::os::unix::fs::symlink("moved/mnist", place.path("one")).unwrap();
    place.foil(&["train", "one.yaml", "--run-dir", "runs/a", "data.path=moved"]).ok();
    let plan = |file: &str| place.foil(&["compare", file, "--dry-run"]).ok().out;
    assert!(plan("one.yaml").contains("1 of 1 runs done"));
    assert!(plan("two.yaml").contains("0 of 1 runs done"));
    place.foil(&["train", "two.yaml", "--run-dir", "runs/b"]).ok();
    let both = place.foil(&["compare", "one.yaml", "two.yaml", "--dry-run"]).ok().out;
    assert!(both.contains("2 of 2 runs done") && !both.contains("is the same run"), "{both}");
    let table = place.foil(&["table", "accuracy"]).ok().out;
    assert!(table.contains("one") && table.contains("two") && !table.contains('±'), "{table}");
    let error = place.foil(&["eval", "runs/a", "data.path=two"]).error();
    assert!(error.contains("the run is on other data"), "{error}");
    place.foil(&["eval", "runs/a", "data.path=two", "images.content=null", "--out", "other.json"]).ok();

    // Weights to begin with, beside the file that names them.
    fs::create_dir(place.path("conf")).unwrap();
    let start = |run: &str| {
        fs::copy(place.run(run).file("best.safetensors"), place.path("conf/w.safetensors")).unwrap();
    };
    start("runs/a");
    fs::write(place.path("conf/init.yaml"), "extends: ../tiny.yaml\nname: init\ninit: w.safetensors\n").unwrap();
    place.foil(&["compare", "conf/init.yaml"]).ok();
    assert!(plan("conf/init.yaml").contains("1 of 1 runs done"));
    start("runs/b");
    assert!(plan("conf/init.yaml").contains("needs training"));
}
