//! The pipelines that come with foil: all are right, say what they are, the small ones run, and
//! those of the CAT paper are what its text states.

mod paper;
#[path = "../tiny/mod.rs"]
mod tiny;

use std::fs;
use std::path::{Path, PathBuf};
use tiny::Place;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");

/// Every pipeline below `folder`, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry));
        } else if entry.extension().is_some_and(|end| end == "yaml") {
            found.push(entry);
        }
    }
    found.sort();
    found
}

fn header(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map_while(|line| line.strip_prefix("# "));
    lines.collect::<Vec<_>>().join(" ")
}

#[test]
fn all_are_right() {
    let all = files(Path::new(FOLDER));
    assert!(all.len() > 80, "{} files", all.len());
    let words: Vec<&str> =
        ["check", "--no-run"].into_iter().chain(all.iter().map(|file| file.to_str().unwrap())).collect();
    let ended = Place::with("").foil(&words).ok();
    assert_eq!(ended.out.lines().count(), all.len(), "{}", ended.out);
    // A file that is not a run says so, and no other file does.
    for line in ended.out.lines() {
        let (_, file) = line.split_once(FOLDER).unwrap();
        let file = PathBuf::from(FOLDER.to_string() + file.split("  (").next().unwrap());
        assert_eq!(line.contains("(no run)"), header(&file).contains("Not a run by itself."), "{line}");
    }
}

/// Each method once; `cargo verify` rehearses all files.
#[test]
fn the_small_ones_pass_a_rehearsal() {
    let small = files(&Path::new(FOLDER).join("smoke"));
    let words: Vec<&str> = std::iter::once("check").chain(small.iter().map(|file| file.to_str().unwrap())).collect();
    let ended = Place::with("").foil(&words).ok();
    assert!(small.len() > 10 && ended.out.lines().count() == small.len(), "{}", ended.out);
}

#[test]
fn each_says_what_to_expect() {
    for file in files(Path::new(FOLDER)) {
        let header = header(&file);
        let phrases =
            ["Expected", "o published figures", "no such row", "prints no numbers", "learn nothing", "learns nothing"];
        let says = |phrase: &&str| header.contains(*phrase);
        let of_a_base =
            header.contains("Not a run by itself.") || file.components().any(|part| part.as_os_str() == "demo");
        assert!(!header.is_empty() && (of_a_base || phrases.iter().any(says)), "{}: {header}", file.display());
    }
}

#[test]
fn every_method_runs_in_small() {
    let place = Place::with("");
    let runs: Vec<PathBuf> = files(&Path::new(FOLDER).join("smoke"));
    for file in runs.iter().filter(|file| !header(file).contains("Not a run")) {
        let (name, path) = (file.file_stem().unwrap().to_str().unwrap(), file.to_str().unwrap());
        if name == "sweep" {
            place.foil(&["sweep", path, "--dir", name]).ok();
            continue;
        }
        place.foil(&["train", path, "--run-dir", name]).ok();
        let record = place.run(name).json("eval.json");
        assert!(record["entries"].as_array().unwrap().iter().all(|entry| entry["accuracy"].is_number()), "{record}");
        let [row] = &place.run(name).metrics()[..] else { panic!("{name}: not one epoch") };
        assert!(row["train_loss"].as_f64().is_some_and(f64::is_finite), "{name}: {row}");
    }
}
