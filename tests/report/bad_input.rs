//! What is missing or odd is said, and the rest stands.

use crate::runs::{Made, table_2};
use crate::{foil, page, place};
use std::fs;

fn error(args: &[&str]) -> String {
    let output = foil(args);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_folder_without_a_run_is_an_error_that_names_it() {
    let place = place("nothing");
    let path = place.display().to_string();
    let out = place.join("report.html");
    let args = |runs: &'static str| [runs, "--out"].map(str::to_string);
    let missing = error(&[&format!("{path}/gone"), &args("x")[1], out.to_str().unwrap()]);
    assert!(missing.contains("gone does not exist\n  help: "), "{missing}");
    let empty = error(&[&path, "--out", out.to_str().unwrap()]);
    assert!(
        empty.contains("there is no run in ") && empty.contains("help: name a folder that `foil train` made"),
        "{empty}"
    );
    assert!(!out.exists());
}

/// `runs/*` of a shell names what is beside the runs too.
#[test]
fn what_is_no_run_among_runs_is_a_note() {
    let place = place("beside");
    let run = table_2()[1].write(&place);
    let (folder, picture, out) = (place.join("configs"), place.join("digits.png"), place.join("report.html"));
    fs::create_dir(&folder).unwrap();
    fs::write(&picture, "").unwrap();
    let paths = [&run, &folder, &picture].map(|path| path.to_str().unwrap());
    let output = foil(&[&paths[..], &["--out", out.to_str().unwrap()]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("note: "), "{said}");
    let html = fs::read_to_string(&out).unwrap();
    for path in &paths[1..] {
        let note = format!("{path} holds no run and is left out");
        assert!(said.contains(&note) && html.contains(&note), "{said}");
    }
}

#[test]
fn half_written_and_foreign_files_are_notes() {
    let place = place("odd");
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| table_2()[n].write(&place));
    // Killed while a row was written; that row alone is lost.
    let rows = fs::read_to_string(a.join("metrics.jsonl")).unwrap();
    fs::write(a.join("metrics.jsonl"), &rows[..rows.len() - 20]).unwrap();
    fs::write(b.join("metrics.jsonl"), "{\"epoch\":1,\"step\":1}\nnonsense\n{\"epoch\":3,\"step\":3}\n").unwrap();
    fs::write(c.join("eval.json"), "{\"model\": ").unwrap();
    fs::write(d.join("eval.images.csv"), "a,b\n1,2\n").unwrap();
    fs::remove_file(c.join("curves.json")).unwrap();
    fs::write(a.join("curves.json"), "[]").unwrap();
    let e = place.join("broken");
    fs::create_dir(&e).unwrap();
    fs::write(e.join("resolved.yaml"), "attack: [").unwrap();
    let html = page(&[&place], &place.join("report.html"));
    for note in [
        "undefended: not trained to the end",
        "AT: no curves: ",
        "metrics.jsonl:2: not a row of metrics",
        "ALP: not evaluated: ",
        "ALP: not evaluated yet: foil eval RUN.",
        "MMA: no figures for each class: ",
        "undefended: no curves by radius and steps: ",
        "broken/resolved.yaml",
    ] {
        assert!(html.contains(note), "{note}\n{}", &html[html.find("<main>").unwrap()..][..3000]);
    }
    // All five stand in the table or in the curves.
    assert!(html.contains("<td class=\"n\">47.20</td>") && html.contains("99 of 100"));
}

#[test]
fn what_was_evaluated_differently_stands_apart() {
    let place = place("apart");
    let base = &table_2()[1];
    let digits = Made { name: "AT_digits", data: "mnist_subset", eps: "0.3", ends: [97.0, 82.0], ..base.clone() };
    let wider = Made { name: "AT_16", eps: "16/255", ends: [70.0, 30.0], ..base.clone() };
    let later = table_2()[4].clone();
    for run in [base, &digits, &wider] {
        run.write(&place);
    }
    later.train(&place);
    let html = page(&[&place], &place.join("report.html"));
    assert!(html.contains("These runs were not evaluated in the same way"), "a note says so");
    assert!(html.contains("TRADES: not evaluated yet: foil eval RUN."));
    assert!(html.contains("The methods use different networks: preact_resnet18, small_cnn."));
    for caption in [
        "cifar10, Linf 8/255, 1,000 images",
        "mnist_subset, Linf 0.3, 1,000 images",
        "cifar10, Linf 16/255, 1,000 images",
    ] {
        assert!(html.contains(&format!("<caption>{caption}</caption>")), "{caption}");
    }
}

#[test]
fn seeds_stand_together_and_names_twice_are_told_apart() {
    let place = place("seeds");
    let base = &table_2()[1];
    for (seed, robust) in [(0, 52.0), (1, 53.0), (2, 54.0)] {
        Made { seed, ends: [83.0, robust], ..base.clone() }.write(&place);
    }
    // The same name for other settings.
    Made { loss: "{ type: alp, lambda: 0.5 }", ..base.clone() }.write(&place.join("other"));
    let html = page(&[&place], &place.join("report.html"));
    assert!(html.contains("2 methods, 4 runs") && html.contains("53.00 ± 1.00"));
    assert!(html.contains("AT (AT-0)") || html.contains("AT (1)"), "{}", &html[html.find("<h1>").unwrap()..][..800]);
}

#[test]
fn a_red_check_of_any_seed_is_red() {
    let place = place("seeds_trust");
    let at = table_2().into_iter().find(|made| made.name == "AT").unwrap();
    let fails = Made { seed: 1, fails: &["black_box", "more_steps"], ..at.clone() };
    let seeds = [at.write(&place.join("a")), fails.write(&place.join("b"))];
    let trades = table_2().into_iter().find(|made| made.name == "TRADES").unwrap().write(&place);
    let html = page(&[&seeds[0], &seeds[1], &trades], &place.join("report.html"));
    assert!(html.contains("<strong>AT</strong>: 2 trust checks failed (1 of 2 seeds)"), "the banner: {html}");
    assert!(html.contains(">✗ 2 failed (1 of 2 seeds)<"), "the row: {html}");
    assert!(html.contains("✗ fail (1 of 2 seeds)") && html.contains("✓ pass (2 of 2 seeds)"), "the checks: {html}");
    assert!(html.contains("AT (seed 1), black box"), "{html}");
}

#[test]
fn what_a_file_says_is_never_code() {
    let place = place("hostile");
    let name = "<script>alert(1)</script>\"'&";
    let folder = Made { name: "x", ..table_2()[1].clone() }.write(&place);
    let text = fs::read_to_string(folder.join("resolved.yaml")).unwrap();
    let quoted = serde_json::to_string(name).unwrap();
    fs::write(folder.join("resolved.yaml"), text.replace("name: \"x\"", &format!("name: {quoted}"))).unwrap();
    let eval = fs::read_to_string(folder.join("eval.json")).unwrap();
    fs::write(folder.join("eval.json"), eval.replace("\"pgd20\"", &quoted).replace("as it should be", "<img src=x>"))
        .unwrap();
    let html = page(&[&place], &place.join("report.html"));
    assert!(!html.contains("<script>alert") && !html.contains("<img src=x>"));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;"));
}
