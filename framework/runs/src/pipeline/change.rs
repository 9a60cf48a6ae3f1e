//! What distinguishes a run from another one of the same name, in words for its folder.

use super::Pipeline;
use super::sweep::word;
use foil::Result;
use serde_yaml::Value;
use std::path::Path;

/// Longer names are not made.
const LONGEST: usize = 80;

/// What a pipeline trains otherwise than another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Settings, files and libraries, as in `beta=2` and `libmy_loss-3fa8c2d1`.
    words: Vec<String>,
    /// The seed, where that differs.
    seed: Option<u64>,
}

impl Change {
    /// `name` and what changed; without the seed it is the name of all seeds. `None` if that would
    /// be `name` itself, or too long.
    pub fn name(&self, name: &str) -> Option<String> {
        joined(name, &self.words)
    }

    /// The folder of the run, by the name of the other one's.
    pub fn folder(&self, name: &str) -> Option<String> {
        let seed = self.seed.map(|seed| format!("seed{seed}"));
        joined(name, &[&self.words[..], seed.as_slice()].concat())
    }
}

fn joined(name: &str, words: &[String]) -> Option<String> {
    let whole = [&[name.to_string()][..], words].concat().join("-");
    (!words.is_empty() && whole.len() <= LONGEST).then_some(whole)
}

impl Pipeline {
    /// What this pipeline trains otherwise than `other`; files and libraries count by their
    /// content.
    ///
    /// # Errors
    /// When a plugin's settings have no YAML form.
    pub fn change_from(&self, other: &Self) -> Result<Change> {
        let [ours, theirs] = [self.trained()?, other.trained()?];
        let mut words = Vec::new();
        for path in &self.plugins {
            let alone = Self { plugins: vec![path.clone()], ..self.clone() }.trained()?.plugins;
            for sum in alone.iter().filter(|sum| !theirs.plugins.contains(sum)) {
                let stem = Path::new(path).file_stem().unwrap_or_default().display().to_string();
                words.push(format!("{stem}-{}", short(sum)));
            }
        }
        let bare = |pipeline: &Self| {
            let bare = Self { plugins: Vec::new(), seed: 0, ..pipeline.clone() };
            serde_yaml::to_value(bare).map_err(foil::Error::of)
        };
        differences("", &bare(&ours)?, &bare(&theirs)?, &mut words);
        Ok(Change { words, seed: (self.seed != other.seed).then_some(self.seed) })
    }
}

/// The leaves of `ours` that differ, each as the last part of its key and its value.
fn differences(key: &str, ours: &Value, theirs: &Value, words: &mut Vec<String>) {
    let kind = |value: &Value| value.get("type").and_then(Value::as_str).map(String::from);
    match (ours, theirs) {
        (ours, theirs) if ours == theirs => {}
        // With another plugin all of its keys are others.
        (Value::Mapping(_), Value::Mapping(_)) if kind(ours) != kind(theirs) => {
            words.push(format!("{key}={}", kind(ours).unwrap_or_default()));
        }
        (Value::Mapping(a), Value::Mapping(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            for inner in keys {
                let null = Value::Null;
                let (ours, theirs) = (a.get(inner).unwrap_or(&null), b.get(inner).unwrap_or(&null));
                let inner = inner.as_str().unwrap_or_default();
                // A file is named by the part that it belongs to, which says more than `file`.
                let is_file = inner == "file" || inner == "sha256";
                differences(if is_file { key } else { inner }, ours, theirs, words);
            }
        }
        (Value::Null, _) => words.push(format!("{key}=none")),
        (Value::Mapping(_), _) => {
            words.push(format!("{key}={}", kind(ours).unwrap_or_else(|| "changed".into())));
        }
        (ours, _) => {
            let text = serde_json::to_value(ours).map_or_else(|_| "changed".into(), |value| word(&value));
            words.push(format!("{key}={}", short(&text)));
        }
    }
}

/// A digest's first eight digits, or the text.
fn short(text: &str) -> &str {
    let is_digest = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_digest { &text[..8] } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(ours: &str, theirs: &str) -> Vec<String> {
        let [ours, theirs] = [ours, theirs].map(|text| serde_yaml::from_str::<Value>(text).unwrap());
        let mut words = Vec::new();
        differences("", &ours, &theirs, &mut words);
        words
    }

    #[test]
    fn what_differs_is_named_by_key_and_value() {
        let base = "{ loss: { type: trades, beta: 6 }, optimizer: { type: sgd, lr: 0.1 }, update: { type: sam } }";
        for (ours, expected) in [
            (base.to_string(), vec![]),
            (base.replace("beta: 6", "beta: 2"), vec!["beta=2"]),
            (base.replace("type: trades, beta: 6", "type: at"), vec!["loss=at"]),
            (base.replace("lr: 0.1", "lr: { type: cosine, start: 1 }"), vec!["lr=cosine"]),
            (base.replace(", update: { type: sam }", ""), vec!["update=none"]),
            (base.replace("lr: 0.1", "lr: 0.1, betas: [0.9, 0.99]"), vec!["betas=[0.9,0.99]"]),
        ] {
            assert_eq!(words(&ours, base), expected, "{ours}");
        }
        let python = |sum: &str| format!("{{ loss: {{ type: python, file: {} }} }}", sum.repeat(64));
        assert_eq!(words(&python("a"), &python("b")), ["loss=aaaaaaaa"]);
    }

    #[test]
    fn a_seed_is_part_of_the_folder_and_not_of_the_name() {
        let change = Change { words: vec!["beta=2".into()], seed: Some(3) };
        assert_eq!(change.name("mine").as_deref(), Some("mine-beta=2"));
        assert_eq!(change.folder("mine").as_deref(), Some("mine-beta=2-seed3"));
        assert_eq!(Change { words: Vec::new(), seed: Some(3) }.name("mine"), None);
        assert_eq!(Change::default().folder("mine"), None);
        assert_eq!(Change { words: vec!["x".repeat(90)], seed: None }.folder("mine"), None);
    }
}
