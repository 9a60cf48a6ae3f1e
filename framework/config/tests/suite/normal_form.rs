//! Right pipelines: shorthand is written out, fractions are numbers, and loading what came out
//! changes nothing.

use crate::pipeline::{FULL, Pipeline, Plugins, check, schema};
use foil_config::load;
use proptest::prelude::*;
use serde_yaml::Value;

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("YAML")
}

#[test]
fn shorthand_and_fractions_are_written_out() {
    let checked = check(FULL, &["train.epochs=7", "loss.beta=2"]).expect("right");
    assert_eq!(checked.value["attack"]["type"], "calibrated");
    assert_eq!(checked.value["attack"]["inner"]["eps"], yaml("0.03137254901960784"));
    assert_eq!(checked.value["attack"]["beta1"], yaml("0.05"));
    assert_eq!(checked.value["evaluate"][0], yaml("{ type: fgsm }"));
    assert_eq!(checked.value["train"]["warmup"], yaml("{ type: fgsm }"));
    assert_eq!(checked.value["train"]["epochs"], 7);
    assert_eq!(checked.value["loss"], yaml("{ type: trades, beta: 2 }"));
    assert_eq!(checked.sources, ["x.yaml"]);
    let typed: Pipeline = serde_yaml::from_value(checked.value).expect("what is checked can be deserialised");
    assert_eq!((typed.name.as_str(), typed.train.epochs), ("full", 7));
}

#[test]
fn shorthand_takes_overrides() {
    let text = "data: mnist\nattack: fgsm\nloss: trades\n";
    let checked = check(text, &["loss.beta=3", "attack=pgd", "attack.eps=8/255", "evaluate=[fgsm]"]).expect("right");
    assert_eq!(checked.value["loss"], yaml("{ type: trades, beta: 3 }"));
    assert_eq!(checked.value["attack"]["type"], "pgd");
}

#[test]
fn an_empty_section_and_a_null_override_mean_the_default() {
    let text = "data: mnist\nattack: fgsm\nloss: at\ntrain:\n  # epochs: 3\n";
    let checked = check(text, &["name=null", "crop=null"]).expect("right");
    assert_eq!(checked.value, yaml("{ data: mnist, attack: { type: fgsm }, loss: { type: at }, crop: null }"));
    assert!(check(text, &["nme=null"]).is_err(), "unknown keys are found all the same");
    assert!(check(text, &["loss=null"]).is_err(), "required keys stay required");
}

#[test]
fn files_extend_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    std::fs::create_dir(folder.path().join("sub")).expect("a folder");
    file(
        "base.yaml",
        "data: mnist\nattack: { type: pgd, eps: 0.3, steps: 40 }\nloss: at\ntrain: { epochs: 2, clip: 1 }\n",
    );
    file("more.yaml", "loss: trades\n");
    file("sub/child.yaml", "extends: [../base.yaml, ../more.yaml]\nattack: { steps: 7 }\ntrain: { clip: null }\n");
    let path = folder.path().join("sub/child.yaml");
    let checked = load(&path, &["attack.alpha=1/100".into()], &schema(), &Plugins).expect("right");
    let expected = "{ data: mnist, attack: { type: pgd, eps: 0.3, steps: 7, alpha: 0.01 }, loss: { type: trades }, train: { epochs: 2 } }";
    assert_eq!(checked.value, yaml(expected));
    assert_eq!(checked.sources.len(), 3);
    let place = checked.locate("attack.eps").expect("written in the base");
    assert!(place.source().ends_with("base.yaml") && place.line() == Some(2), "{place}");
}

#[test]
fn the_normal_form_is_a_fixed_point() {
    assert_fixed_point(FULL.as_bytes());
}

fn assert_fixed_point(text: &[u8]) {
    let Ok(first) = check(text, &[]) else { return };
    let written = serde_yaml::to_string(&first.value).expect("it can be written");
    match check(&written, &[]) {
        Ok(second) => assert_eq!(first.value, second.value, "{written}"),
        Err(problems) => panic!("{problems}\n{written}"),
    }
}

/// Text that looks like something else in one YAML or another.
fn tricky() -> impl Strategy<Value = String> {
    let words = [
        "yes",
        "no",
        "~",
        "null",
        "012",
        "0o17",
        "0x1f",
        "1_000",
        "1e3",
        ".5",
        "8/255",
        "- a",
        "a: b",
        "#",
        "",
        " x ",
        "a\nb",
        "a\n\nb\n",
        "\t",
        "é",
        "'",
        "\"",
        "\\",
        "{",
        "[",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "%",
        "@",
        "`",
        "?",
        "---",
        "...",
        "<<",
        "=",
        "12:30:45",
        "2021-01-01",
        "+1",
        "1.",
        "-",
        "0b1",
        ".inf",
        "True",
        "\u{85}",
    ];
    prop_oneof![
        proptest::sample::select(words.to_vec()).prop_map(str::to_string),
        any::<String>().prop_map(|text| text.replace(['\u{2028}', '\u{2029}'], ""))
    ]
}

proptest! {
    #[test]
    fn any_text_survives(name in tricky(), key in tricky(), note in tricky(), eps in 0.0..=1.0f64, steps in 1..1000u32) {
        let value = serde_json::json!({
            "name": name, "data": "mnist", "loss": "at", "attack": { "type": "pgd", "eps": eps, "steps": steps },
            "notes": { key.clone(): note },
        });
        let written = serde_yaml::to_string(&value).expect("YAML");
        // Control characters other than tab and line breaks are no YAML unless escaped; the writer
        // escapes them.
        let checked = check(&written, &[]).map_err(|problems| TestCaseError::fail(format!("{problems}\n{written}")))?;
        prop_assert_eq!(checked.value["name"].as_str(), Some(name.as_str()));
        prop_assert!(checked.value["notes"].get(key.as_str()).is_some());
        assert_fixed_point(written.as_bytes());
    }
}
