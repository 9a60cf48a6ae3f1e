//! What `table`, `report` and `watch` read of a run's folder. A figure from a damaged file may not
//! be shown.

use super::{Target, in_order, kept, read};
use crate::verdict::Verdict;
use crate::{mutate, words};
use fastrand::Rng;
use foil_cli::looked;
use foil_cli::report::Run;
use foil_runs::record::{EvalRecord, ImageRecord, Row};
use foil_runs::train::{Folder, Lock};
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Files of a run's folder. The first byte of an input is the number of its file, the rest the
/// file.
pub struct Records(OnceCell<Made>);

struct Made {
    place: TempDir,
    /// As while it trains: otherwise nobody reads the heartbeat.
    _lock: Lock,
    /// The good files.
    whole: Vec<Vec<u8>>,
    truth: Figures,
}

/// What is shown of a run.
#[derive(Debug, Clone, PartialEq)]
struct Figures {
    eval: Option<EvalRecord>,
    images: Option<ImageRecord>,
    metrics: Vec<Row>,
}

const FILES: [&str; 8] = [
    "metrics.jsonl",
    "eval.json",
    "eval.images.csv",
    "resolved.yaml",
    "curves.json",
    "heartbeat.json",
    "state.safetensors",
    "best.safetensors",
];

impl Records {
    pub fn new() -> Self {
        Self(OnceCell::new())
    }

    fn made(&self) -> &Made {
        self.0.get_or_init(|| {
            let place = super::run::made();
            let run = place.path().join("run");
            let whole: Vec<Vec<u8>> = FILES.iter().map(|name| good(&run.join(name))).collect();
            let truth = figures(&run).unwrap_or_else(|error| panic!("{error}"));
            assert!(truth.eval.is_some() && truth.images.is_some() && truth.metrics.len() == 3, "{truth:?}");
            let lock = Folder::open(&run).and_then(|folder| folder.lock());
            let _lock = lock.unwrap_or_else(|error| panic!("{error}"));
            Made { place, _lock, whole, truth }
        })
    }
}

/// A file as it is, the same in every process.
fn good(path: &Path) -> Vec<u8> {
    let bytes = read(path);
    if path.extension().is_some_and(|end| end == "safetensors") { in_order(&bytes) } else { bytes }
}

fn figures(run: &Path) -> foil::Result<Figures> {
    let run = Run::load(run)?;
    // What cannot be read is not shown.
    let images = run.images().unwrap_or_default();
    let (eval, done) = (run.eval().cloned(), run.epochs);
    let metrics = run.metrics.into_iter().filter(|row| row.epoch <= done).collect();
    Ok(Figures { eval, images, metrics })
}

/// Whether a changed record still says what its digests are: one without them may be another
/// program's, whose figures nobody can vouch for.
fn is_own(name: &str, file: &[u8]) -> bool {
    let value: serde_json::Value = serde_json::from_slice(file).unwrap_or_default();
    name != "eval.json"
        || ["digest", "images"].iter().all(|key| value.get(key).is_some_and(serde_json::Value::is_string))
}

/// What is wrong with the figures that are shown, if anything.
fn wrong(shown: &Figures, truth: &Figures) -> Option<String> {
    let other = |what: &str, found: &dyn std::fmt::Debug| Some(format!("{what} of a damaged file is shown: {found:?}"));
    // Its digest's own text may come in another form.
    let plain = |eval: &EvalRecord| EvalRecord { digest: None, ..eval.clone() };
    match (&shown.eval, &truth.eval) {
        (Some(now), Some(then)) if plain(now) != plain(then) => return other("an evaluation", now),
        _ => {}
    }
    match (&shown.images, &truth.images) {
        (Some(now), Some(then)) if now != then => return other("a table of images", now),
        _ => {}
    }
    let is_true = |row: &Row| truth.metrics.contains(row);
    shown.metrics.iter().find(|row| !is_true(row)).and_then(|row| other("a row of metrics", row))
}

impl Target for Records {
    fn name(&self) -> &'static str {
        "records"
    }

    fn about(&self) -> &'static str {
        "a run's records, as table, report and watch read them; no figure of a damaged one is shown"
    }

    fn cases(&self) -> u64 {
        50
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let own = self.made().whole.iter().zip(0u8..).map(|(bytes, n)| [vec![n], bytes.clone()].concat());
        [kept("records"), own.collect()].concat()
    }

    fn change(&self, random: &mut Rng, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        let (kind, file) = seed.split_at(seed.len().min(1));
        let name = FILES[kind.first().map_or(0, |n| usize::from(*n) % FILES.len())];
        let changed = if name.ends_with(".safetensors") {
            mutate::bytes(random, file, seeds)
        } else {
            words::text(random, file, seeds, &["natural".into(), "accuracy".into(), "epoch".into()])
        };
        [kind, &changed].concat()
    }

    fn run(&self, input: &[u8]) -> Verdict {
        let (kind, file) = input.split_at(input.len().min(1));
        let (made, n) = (self.made(), kind.first().map_or(0, |n| usize::from(*n) % FILES.len()));
        let path = made.place.path().join("run").join(FILES[n]);
        let verdict = match fs::write(&path, file) {
            Ok(()) => evaluated(made, FILES[n], file),
            Err(error) => Verdict::Fault(format!("the input could not be written: {error}")),
        };
        // The other files are good in the next case.
        match fs::write(&path, &made.whole[n]) {
            Ok(()) => verdict,
            Err(error) => Verdict::Fault(format!("the good file could not be put back: {error}")),
        }
    }
}

fn evaluated(made: &Made, name: &str, file: &[u8]) -> Verdict {
    let place: PathBuf = made.place.path().to_path_buf();
    match figures(&place.join("run")) {
        // Another pipeline is another run, and without a state nobody knows which epochs are done.
        Ok(shown) if is_own(name, file) && !["resolved.yaml", "state.safetensors"].contains(&name) => {
            if let Some(why) = wrong(&shown, &made.truth) {
                return Verdict::Fault(why);
            }
        }
        Ok(_) => {}
        Err(error) => return Verdict::refused(&error),
    }
    match looked(&place) {
        Ok(looked) if looked.page.contains('\u{1b}') => Verdict::Fault("the page has a control character".into()),
        Ok(looked) => Verdict::printed(&looked.printed, Verdict::Taken),
        Err(error) => Verdict::refused(&error),
    }
}
