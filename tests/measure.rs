//! `docs/results/measure.sh`, for who has a GPU next: each command of its is one that the program
//! takes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn script(words: &[&str]) -> String {
    let output = Command::new("bash").arg("docs/results/measure.sh").args(words).current_dir(ROOT).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn foil(words: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foil")).args(words).current_dir(ROOT).output().unwrap()
}

/// The words of each command that starts foil, behind the program's name.
fn commands() -> Vec<Vec<String>> {
    let printed = script(&["--print", "all"]);
    let words = |line: &str| line.split_whitespace().map(|word| word.trim_matches('\'').to_string()).collect();
    let of_foil = |words: Vec<String>| {
        let start = words.iter().position(|word| word.ends_with("/foil"))?;
        Some(words[start + 1..].to_vec())
    };
    printed.lines().map(words).filter_map(of_foil).collect()
}

fn is_override(word: &str) -> bool {
    word.contains('=') && !word.starts_with("--")
}

/// The pipelines that a command names, or that the run it evaluates was trained with.
fn pipelines(words: &[String]) -> Vec<String> {
    let after = |option: &str| words.iter().position(|word| word == option).map(|at| words[at + 1].as_str());
    let named = words.iter().filter(|word| word.ends_with(".yaml")).cloned();
    let configs = after("--configs").unwrap_or("configs/cifar10");
    let methods = after("--methods").into_iter().flat_map(|names| names.split(','));
    let evaluated = (words[0] == "eval").then(|| "configs/cifar10/fast/at.yaml".to_string());
    named.chain(methods.map(|name| format!("{configs}/{name}.yaml"))).chain(evaluated).collect()
}

#[test]
fn every_command_is_one_that_foil_takes() {
    let commands = commands();
    assert!(commands.len() > 60, "{} commands", commands.len());
    let (mut spoken, mut checked) = (BTreeSet::new(), BTreeMap::<Vec<String>, BTreeSet<String>>::new());
    for words in commands {
        for file in pipelines(&words) {
            assert!(Path::new(ROOT).join(&file).exists(), "{file}");
            let overrides = words.iter().filter(|word| is_override(word)).cloned().collect();
            checked.entry(overrides).or_default().insert(file);
        }
        // With --help a command that is not understood is still an error, and one that is does
        // nothing.
        let folder = |word: String| if word.starts_with('/') { "folder".to_string() } else { word };
        let rest = words.into_iter().filter(|word| !is_override(word)).map(folder);
        spoken.insert(rest.chain(["--help".to_string()]).collect::<Vec<_>>());
    }
    let checked = checked.into_iter().map(|(overrides, files)| {
        ["check", "--no-run"].map(String::from).into_iter().chain(files).chain(overrides).collect::<Vec<_>>()
    });
    for words in spoken.into_iter().chain(checked) {
        let output = foil(&words);
        assert!(output.status.success(), "foil {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_part_is_in_the_page_about_gpus() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/results/gpu.md")).unwrap();
    for part in script(&["--list"]).lines() {
        let columns: Vec<&str> = part.split('|').map(str::trim).collect();
        let [name, minutes, shows, goal] = columns[..] else { panic!("{part}") };
        assert!(page.contains(&format!("| `{name}` | {minutes} | {shows} | {goal} |")), "{part}");
    }
}

#[test]
fn what_it_does_not_know_is_an_error() {
    let output = Command::new("bash").args(["docs/results/measure.sh", "step"]).current_dir(ROOT).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no part step"));
}
