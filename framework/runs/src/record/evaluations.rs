//! The evaluations of a run: `eval.json`, and `eval.HASH.json` of other attacks or images beside
//! it.
//!
//! Tables use the widest one of the best checkpoint: the one with the most attacked images over all
//! its attacks, of equals the one with the most images, then the newest.

use super::EvalRecord;
use std::path::{Path, PathBuf};

/// The usual one.
pub const FIRST: &str = "eval.json";

/// A record and its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub record: EvalRecord,
}

/// The evaluations in a run's folder.
#[derive(Debug, Default)]
pub struct Evaluations {
    /// Those of its best checkpoint, the widest first.
    pub current: Vec<Evaluation>,
    /// Files of other weights, each with the reason in words.
    pub outdated: Vec<(PathBuf, String)>,
    /// What cannot be read.
    pub errors: Vec<foil::Error>,
}

/// Reads the evaluations in `folder` and holds them against the checkpoint at `best`.
pub fn evaluations(folder: &Path, best: &Path) -> Evaluations {
    let mut found = Evaluations::default();
    let mut paths: Vec<PathBuf> = folder
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_record))
        .collect();
    paths.sort();
    for path in paths {
        let read = EvalRecord::load(&path).map_err(foil::Error::of);
        match read.and_then(|record| Ok((record.outdated(best)?, record))) {
            Ok((None, record)) => found.current.push(Evaluation { path, record }),
            Ok((Some(why), _)) => found.outdated.push((path, why)),
            Err(error) => found.errors.push(error),
        }
    }
    found.current.sort_by(|a, b| width(&b.record).cmp(&width(&a.record)).then(b.record.date.cmp(&a.record.date)));
    found
}

/// `eval.json` or `eval.WORD.json`, but not what an evaluation under way writes.
fn is_record(name: &str) -> bool {
    let word = name.strip_prefix("eval.").and_then(|rest| rest.strip_suffix(".json"));
    name == FIRST || word.is_some_and(|word| !["partial", "heartbeat"].contains(&word) && !word.contains('.'))
}

/// (Attacked images, images).
fn width(record: &EvalRecord) -> (u64, u64) {
    let attacks = record.entries.iter().filter(|entry| !entry.attack.is_null()).count() as u64;
    (attacks.saturating_mul(record.n), record.n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(folder: &Path, name: &str, attacks: &[&str], n: u64, day: u8) {
        let entry = |name: &&str| json!({ "name": name, "attack": { "type": name }, "accuracy": 1.0, "seconds": 1.0 });
        let entries: Vec<_> = attacks.iter().map(entry).collect();
        let record = json!({ "model": "m", "dataset": "d", "threat": { "norm": "Linf", "eps": 0.1 }, "precision": "fp32",
            "device": "cpu", "seed": 0, "n": n, "entries": entries, "foil_version": "0", "libtorch": "2",
            "date": format!("2026-11-{day:02}T00:00:00Z"), "config_hash": "" });
        std::fs::write(folder.join(name), record.to_string()).unwrap();
    }

    #[test]
    fn the_widest_is_first_and_of_equals_the_newest() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        written(folder, "eval.json", &["fgsm", "pgd"], 1000, 1);
        written(folder, "eval.aaaa.json", &[], 10_000, 9);
        written(folder, "eval.bbbb.json", &["fgsm", "pgd"], 1000, 3);
        written(folder, "eval.cccc.json", &["fgsm", "pgd", "cw", "square", "apgd"], 50, 9);
        written(folder, "last.eval.json", &["fgsm", "pgd", "cw"], 10_000, 9);
        written(folder, "eval.partial.json", &["fgsm", "pgd", "cw"], 10_000, 9);
        written(folder, "eval.bbbb.partial.json", &["fgsm", "pgd", "cw"], 10_000, 9);
        std::fs::write(folder.join("eval.dddd.json"), "{").unwrap();
        let found = evaluations(folder, &folder.join("best.safetensors"));
        let names: Vec<_> = found.current.iter().map(|one| one.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["eval.bbbb.json", "eval.json", "eval.cccc.json", "eval.aaaa.json"]);
        assert_eq!((found.outdated.len(), found.errors.len()), (0, 1));
    }
}
