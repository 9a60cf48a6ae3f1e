//! Pipelines and overrides: loaded, checked and built without their numbers, as `foil check` does.

use super::{Target, files, kept, read, root, scratch};
use crate::verdict::Verdict;
use crate::words;
use fastrand::Rng;
use foil::{Error, Result};
use foil_runs::pipeline::{Assembled, Loaded, assemble, load, load_text};
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};
use tempfile::TempDir;

/// A copy of `configs/` with a folder beside the others for the file that is fuzzed.
struct Configs(TempDir);

impl Configs {
    fn new() -> Self {
        let place = scratch();
        copy(&root().join("configs"), &place.path().join("configs"));
        fs::create_dir(place.path().join("configs/fuzzed")).expect("a folder");
        Self(place)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("configs/fuzzed/it.yaml")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("configs/").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { drop(fs::copy(entry.path(), target)) }
    }
}

/// The configs' texts; what they extend is named from `configs/fuzzed`.
fn texts() -> Vec<Vec<u8>> {
    let configs = root().join("configs");
    let (mut folders, mut found) = (vec![configs.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        let mut inner: Vec<PathBuf> =
            fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
        inner.sort();
        folders.extend(inner);
        let from = folder.strip_prefix(&configs).unwrap_or(&folder).display().to_string();
        let named = |word: &str| {
            let start = word.len() - word.trim_start_matches('[').len();
            let bare = word.trim_matches(['[', ',', ']']);
            if bare.ends_with(".yaml") {
                format!("{}../{from}/{}", &word[..start], &word[start..])
            } else {
                word.into()
            }
        };
        for path in files(&folder) {
            let text = String::from_utf8_lossy(&read(&path)).into_owned();
            let line = |line: &str| match line.strip_prefix("extends: ") {
                Some(bases) => format!("extends: {}\n", bases.split(' ').map(named).collect::<Vec<_>>().join(" ")),
                None => format!("{line}\n"),
            };
            found.push(text.lines().map(line).collect::<String>().into_bytes());
        }
    }
    found
}

/// Names of plugins, and of what they take.
fn known() -> Vec<String> {
    let mut words: Vec<String> = foil::registry::plugins().iter().map(|entry| entry.name().to_string()).collect();
    keys(&foil_runs::pipeline::editor_schema(&[]), &mut words);
    words.sort();
    words.dedup();
    words
}

/// The keys under `properties`, anywhere in a schema.
fn keys(schema: &serde_json::Value, found: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| {
            if let ("properties", Some(properties)) = (key.as_str(), value.as_object()) {
                found.extend(properties.keys().cloned());
            }
            keys(value, found);
        }),
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

/// Builds what was loaded, and reads again what it is resolved to.
fn evaluated(loaded: Result<Loaded>, overrides: &[String]) -> Verdict {
    match built(loaded, overrides) {
        Ok(verdict) => verdict,
        Err(error) => Verdict::refused(&error),
    }
}

fn built(loaded: Result<Loaded>, overrides: &[String]) -> Result<Verdict> {
    let loaded = loaded?;
    loaded.built(loaded.pipeline.combinations(overrides))?;
    loaded.built(assemble(&loaded.pipeline, Kind::Float, Device::Cpu, true).and_then(Assembled::trainable))?;
    let yaml = loaded.pipeline.to_yaml()?;
    // Radii may be written in other units than they came in, and `extends` is gone: nothing else
    // may change.
    let again = load_text(Path::new("it.yaml"), &yaml, &[]).and_then(|again| again.pipeline.to_yaml());
    Ok(match again {
        Ok(text) if text == yaml => Verdict::Taken,
        Ok(text) => Verdict::Fault(format!("resolved twice it is another pipeline:\n{yaml}\n---\n{text}")),
        Err(error) => Verdict::Fault(format!("what it is resolved to is refused: {error}\n{yaml}")),
    })
}

/// YAML files.
pub struct Pipelines {
    configs: OnceCell<Configs>,
    known: OnceCell<Vec<String>>,
}

impl Pipelines {
    pub fn new() -> Self {
        Self { configs: OnceCell::new(), known: OnceCell::new() }
    }
}

impl Target for Pipelines {
    fn name(&self) -> &'static str {
        "pipelines"
    }

    fn about(&self) -> &'static str {
        "YAML files: configs/, changed; checked, built without numbers, resolved and read again"
    }

    fn cases(&self) -> u64 {
        250
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let corpus = files(&root().join("framework/config/tests/corpus"));
        [kept("pipelines"), corpus.iter().map(|path| read(path)).collect(), texts()].concat()
    }

    fn change(&self, random: &mut Rng, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        words::text(random, seed, seeds, self.known.get_or_init(known))
    }

    fn run(&self, input: &[u8]) -> Verdict {
        let file = self.configs.get_or_init(Configs::new).file();
        match fs::write(&file, input) {
            Ok(()) => evaluated(load(&file, &[]), &[]),
            Err(error) => Verdict::Fault(format!("the input could not be written: {error}")),
        }
    }
}

/// Words of a command line.
pub struct Overrides {
    configs: OnceCell<Configs>,
    known: OnceCell<Vec<String>>,
}

impl Overrides {
    pub fn new() -> Self {
        Self { configs: OnceCell::new(), known: OnceCell::new() }
    }
}

/// What is written behind pipelines, a line a word.
const OVERRIDES: &[&str] = &[
    "attack.eps=8/255\ntrain.epochs=1",
    "model={ type: wide_resnet, depth: 28, width: 10 }\ndata=cifar10",
    "attack={ type: pgd, eps: 0.3, alpha: 0.01, steps: 40, start: uniform }\nloss.beta=6",
    "optimizer={ type: sgd, lr: { type: multistep, start: 0.05, milestones: [0.7, 1.4], count: steps } }",
    "sweep={ attack.eps: [0.1, 0.2], seed: [1, 2, 3] }",
    "evaluate=[natural, pgd10]\nattacks.pgd10.eps=[2/255, 4/255]\nselect=natural + 2 * pgd10",
    "loss=trades\nloss.beta={ type: linear, start: 1, end: 6 }\nattack.objective=kl",
    "normalize={ mean: [0.5], std: [0.25] }\naugment=[{ type: crop, pad: 2 }, flip, mixup]\nimages.train_limit=80",
    "attack={ type: calibrated, inner: { type: pgd, eps: 0.3 }, mask: mask_cnn, beta1: 0.3 }\nloss=cat",
    "train.batch_size=18446744073709551615\nimages.validation=9223372036854775808",
    "name=null\nattack.start=\nseed=0x10\ndevice=cuda:7",
];

impl Target for Overrides {
    fn name(&self) -> &'static str {
        "overrides"
    }

    fn about(&self) -> &'static str {
        "key=value words on a command line, on top of configs/smoke/trades.yaml"
    }

    fn cases(&self) -> u64 {
        200
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        [kept("overrides"), OVERRIDES.iter().map(|text| text.as_bytes().to_vec()).collect()].concat()
    }

    fn change(&self, random: &mut Rng, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        words::text(random, seed, seeds, self.known.get_or_init(known))
    }

    fn run(&self, input: &[u8]) -> Verdict {
        // What a command line can hold: text without NUL.
        let text = String::from_utf8_lossy(input).replace('\0', "");
        let words: Vec<String> = text.lines().take(64).map(String::from).collect();
        let configs = self.configs.get_or_init(Configs::new);
        let file = configs.0.path().join("configs/smoke/trades.yaml");
        evaluated(load(&file, &words).map_err(|error: Error| error.context("fuzzed")), &words)
    }
}
