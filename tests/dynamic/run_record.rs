//! What a run with libraries leaves, how it is resumed, and `plugins.lock`.

use super::{changed, path};
use crate::tiny::{AT, Place};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;

fn with_template(plugins: &str) -> String {
    let plain = AT.replace("loss: at\n", "loss: template_loss\n").replace("epochs: 3", "epochs: 1");
    format!("plugins: [{plugins}]\n{plain}")
}

#[test]
fn a_pipeline_names_its_libraries_relative_to_itself() {
    let place = Place::with("");
    fs::create_dir_all(place.path("configs/lib")).unwrap();
    changed(&place, "configs/lib/libfoil_template.so", |_| {});
    fs::write(place.path("configs/base.yaml"), with_template("lib/libfoil_template.so")).unwrap();
    fs::write(place.path("mine.yaml"), "extends: configs/base.yaml\nloss: { type: template_loss, clean: 0 }\n")
        .unwrap();
    place.foil(&["train", "mine.yaml", "--no-eval", "--run-dir", "run"]).ok();
    let run = place.run("run");
    // The run knows where its library is, and which it was; it is resumed and evaluated without
    // naming it again.
    let library = place.path("configs/lib/libfoil_template.so").canonicalize().unwrap();
    assert!(run.text("resolved.yaml").contains(library.to_str().unwrap()));
    let lock = run.text("plugins.lock");
    assert!(lock.contains("libfoil_template.so:") && lock.contains("plugin: foil-template "), "{lock}");
    assert!(run.text("log.txt").contains("Plugin library loaded."), "{}", run.text("log.txt"));
    place.foil(&["train", "--resume", "run", "--no-eval"]).ok();
    place.foil(&["eval", "run"]).ok();
    // A folder of libraries will do too.
    place.foil(&["check", "mine.yaml", "plugins=[configs/lib]"]).ok();
    let message = place.foil(&["check", "mine.yaml", "plugins=[nowhere.so]"]).error();
    assert!(message.contains("there is no plugin library nowhere.so") && message.contains("override"), "{message}");
    fs::write(place.path("other.yaml"), with_template("lib/none.so")).unwrap();
    let message = place.foil(&["check", "other.yaml"]).error();
    assert!(message.contains("other.yaml:1:11") && !message.contains("no loss is called"), "{message}");

    // Another file under the same name is another library: the run is not resumed with it.
    let mut bytes = fs::read(&library).unwrap();
    bytes.push(0);
    fs::write(&library, bytes).unwrap();
    let message = place.foil(&["train", "--resume", "run"]).error();
    assert!(message.contains("is not the library that") && message.contains("\n  locked     "), "{message}");
    assert!(message.contains("if you trust it: foil plugins lock run"), "{message}");
    place.foil(&["plugins", "lock", "run"]).ok();
    place.foil(&["train", "--resume", "run", "--no-eval"]).ok();
}

/// An evaluation needs the model and the attacks, not what trained the run.
#[test]
fn a_run_is_evaluated_without_the_loss_that_trained_it() {
    let place = Place::with(&with_template("libfoil_template.so"));
    let library = changed(&place, "libfoil_template.so", |_| {});
    let train = |run: &str, more: &[&str]| {
        place.foil(&[&["train", "tiny.yaml", "--no-eval", "--run-dir", run], more].concat()).ok();
    };
    train("run", &[]);
    train("modelled", &["model=template_model"]);
    let eval = |run: &str| place.foil(&["eval", run, "--trust", "off"]);
    let known = eval("run").ok();
    assert!(!known.err.contains("is missing"), "{}", known.err);
    let accuracies = || place.run("run").json("eval.json")["entries"].clone();
    let expected = accuracies();

    // The formula was changed: another library under the same name.
    fs::OpenOptions::new().append(true).open(&library).unwrap().write_all(&[0]).unwrap();
    for (why, gone) in [("is not the library that", false), ("there is no plugin library", true)] {
        if gone {
            fs::remove_file(&library).unwrap();
        }
        fs::remove_file(place.path("run/eval.json")).unwrap();
        let said = eval("run").ok().err;
        assert!(said.contains("note: the loss `template_loss` is missing: ") && said.contains(why), "{said}");
        assert!(said.contains("an evaluation does not need it"), "{said}");
        assert_eq!(accuracies()[0]["accuracy"], expected[0]["accuracy"]);
        assert_eq!(accuracies()[1]["accuracy"], expected[1]["accuracy"]);
        place.foil(&["export", "run"]).ok();
        // The model is needed, and an override is checked as always.
        let message = eval("modelled").error();
        assert!(message.contains(why), "{message}");
        let message = place.foil(&["eval", "run", "attacks.pgd2.stps=3"]).error();
        assert!(message.contains(why), "{message}");
        let message = place.foil(&["train", "--resume", "run"]).error();
        assert!(message.contains(why), "{message}");
    }
}

/// The folder of a run whose formula, or another setting, was changed says what.
#[test]
fn a_changed_run_is_named_by_what_changed() {
    let place = Place::with(&with_template("libfoil_template.so"));
    let library = changed(&place, "libfoil_template.so", |_| {});
    let train = |more: &[&str]| place.foil(&[&["train", "tiny.yaml", "--no-eval"], more].concat()).ok().err;
    train(&[]);
    let said = train(&["loss.clean=0.125"]);
    assert!(said.contains("folder: runs/tiny-clean=0.125\n"), "{said}");
    assert!(place.run("runs/tiny-clean=0.125").text("resolved.yaml").contains("name: tiny-clean=0.125\n"));
    let said = train(&["seed=8"]);
    assert!(said.contains("folder: runs/tiny-seed8\n"), "{said}");
    assert!(place.run("runs/tiny-seed8").text("resolved.yaml").contains("name: tiny\n"));
    assert!(train(&[]).contains("folder: runs/tiny-2\n"));

    fs::OpenOptions::new().append(true).open(&library).unwrap().write_all(&[0]).unwrap();
    let sum = foil::hash::file_hash(&library).unwrap();
    let name = format!("tiny-libfoil_template-{}", &sum[..8]);
    let said = train(&[]);
    assert!(said.contains(&format!("folder: runs/{name}\n")), "{said}");
    // So it is in a comparison, whose table holds both.
    let said = place.foil(&["compare", "tiny.yaml", "--dry-run", "loss.clean=0.25"]).ok().out;
    assert!(said.contains("tiny-libfoil_template-") && said.contains("-clean=0.25"), "{said}");
}

#[test]
fn a_lock_holds_what_may_be_loaded() {
    let place = Place::with(&with_template("libfoil_template.so"));
    changed(&place, "libfoil_template.so", |_| {});
    let said = place.foil(&["plugins", "lock", "tiny.yaml"]).ok().out;
    assert!(said.contains("libfoil_template.so (foil-template "), "{said}");
    place.foil(&["check", "tiny.yaml"]).ok();
    // The current folder's lock counts for the command line.
    let other = path("foil_misbehaving");
    let message = place.foil(&["list", "--plugins", &other]).error();
    assert!(message.contains("is not in ./plugins.lock; it was not loaded"), "{message}");
    let command = format!("if you trust it: foil plugins lock --plugins {other}, with --plugins for");
    assert!(message.contains(&command) && message.contains("holds already: libfoil_template.so"), "{message}");
    fs::write(place.path("plugins.lock"), "nonsense").unwrap();
    let message = place.foil(&["check", "tiny.yaml"]).error();
    assert!(message.contains("plugins.lock") && message.contains("foil plugins lock tiny.yaml"), "{message}");
}

#[test]
fn files_that_others_may_change_are_told() {
    let place = Place::with("");
    let library = changed(&place, "libopen.so", |_| {});
    fs::set_permissions(&library, fs::Permissions::from_mode(0o666)).unwrap();
    let told = place.foil(&["list", "loss", "--plugins", library.to_str().unwrap()]).ok().err;
    assert!(
        told.starts_with("warning: every user of this machine may change ") && told.contains("chmod o-w"),
        "{told}"
    );
    fs::set_permissions(&library, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(place.foil(&["list", "loss", "--plugins", library.to_str().unwrap()]).ok().err, "");
}

#[test]
fn the_variable_names_libraries_too() {
    let place = Place::with("");
    let mut command = place.command(env!("CARGO_BIN_EXE_foil"), &["plugins"]);
    let output = command.env("FOIL_PLUGINS", format!("{}:", path("foil_template"))).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("foil-template") && text.contains("  loss      template_loss"), "{text}");
}
