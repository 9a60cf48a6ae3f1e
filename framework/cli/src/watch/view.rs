//! The state of run folders, read repeatedly. Nothing in them is changed, and runs of plugins can
//! be watched without loading these.

use crate::report::gather::find;
use crate::report::progress::human;
use foil::distinct;
use foil_runs::eval::{EvalHeartbeat, UnderWay};
use foil_runs::record::{Row, evaluations, metrics};
use foil_runs::train::{Beat, Folder};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The runs among and below some folders.
#[derive(Debug)]
pub struct View {
    roots: Vec<PathBuf>,
    /// Those in training first, then the others, most recently changed first.
    pub runs: Vec<Watched>,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Its folder.
    pub path: PathBuf,
    /// Its name, with its seed where another run has the same name, or its folder where that has
    /// the same seed too.
    pub label: String,
    /// Epochs it will have.
    pub epochs: u64,
    /// Its curves, one row per epoch.
    pub rows: Vec<Row>,
    /// The last sign of life of its training.
    pub beat: Option<Beat>,
    /// The last sign of life of its evaluation.
    pub pulse: Option<EvalHeartbeat>,
    /// Its activity.
    pub now: Now,
    name: String,
    seed: u64,
    changed: Option<SystemTime>,
}

/// A run's activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Now {
    /// A process trains in its folder.
    Training,
    /// A process evaluates it: its epochs are done, or training has stopped.
    Evaluating,
    /// Not all its epochs are done, and no process is working on it.
    Stopped,
    /// Its epochs are done, and it is not evaluated yet.
    Trained,
    /// It is done.
    Evaluated,
}

impl fmt::Display for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Now::Training => "training",
            Now::Evaluating => "evaluating",
            Now::Stopped => "stopped",
            Now::Trained => "trained",
            Now::Evaluated => "evaluated",
        })
    }
}

impl View {
    /// Of the runs among and below `roots`; empty until [`View::refresh`].
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, runs: Vec::new() }
    }

    /// Reads what has changed.
    pub fn refresh(&mut self) {
        let mut before = std::mem::take(&mut self.runs);
        for path in find(&self.roots) {
            let known = before.iter().position(|run| run.path == path).map(|at| before.swap_remove(at));
            let mut run = known.unwrap_or_else(|| Watched::new(&path));
            run.refresh();
            self.runs.push(run);
        }
        self.tell_apart();
        let latest = |run: &Watched| std::cmp::Reverse(run.changed);
        self.runs.sort_by(|a, b| {
            let key = |run: &Watched| (!run.busy(), (!run.busy()).then(|| latest(run)));
            key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
        });
    }

    fn tell_apart(&mut self) {
        let named: Vec<(String, u64)> = self.runs.iter().map(|run| (run.name.clone(), run.seed)).collect();
        for run in &mut self.runs {
            let alike = |seed: Option<u64>| {
                let same = |(name, of): &&(String, u64)| *name == run.name && seed.is_none_or(|seed| seed == *of);
                named.iter().filter(same).count()
            };
            run.label = match (alike(None), alike(Some(run.seed))) {
                (1, _) => run.name.clone(),
                (_, 1) => format!("{} (seed {})", run.name, run.seed),
                _ => format!("{} ({})", run.name, run.path.display()),
            };
        }
    }

    /// How many of the runs are active.
    pub fn busy(&self) -> usize {
        self.runs.iter().filter(|run| run.busy()).count()
    }
}

impl Watched {
    fn new(path: &Path) -> Self {
        let pipeline = foil_runs::pipeline::unchecked(&path.join("resolved.yaml")).unwrap_or_default();
        let folder = || path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = pipeline.get("name").and_then(|name| name.as_str()).map_or_else(folder, str::to_string);
        let name = foil::error::shown(&name).into_owned();
        let number = |value: Option<&serde_yaml::Value>| value.and_then(serde_yaml::Value::as_u64).unwrap_or_default();
        Self {
            path: path.to_path_buf(),
            label: name.clone(),
            epochs: number(pipeline.get("train").and_then(|train| train.get("epochs"))),
            rows: Vec::new(),
            beat: None,
            pulse: None,
            now: Now::Stopped,
            name,
            seed: number(pipeline.get("seed")),
            changed: None,
        }
    }

    fn refresh(&mut self) {
        let curves = self.path.join("metrics.jsonl");
        let changed = std::fs::metadata(&curves).and_then(|file| file.modified()).ok();
        if changed != self.changed || changed.is_none() {
            // While a line is being written it may be incomplete; the next read gets it.
            self.rows = metrics::load(&curves).unwrap_or_default();
            self.changed = changed;
        }
        let held = Folder::open(&self.path).is_ok_and(|folder| folder.holder().is_some());
        // The heartbeat of a killed process is out of date.
        self.beat = if held { Beat::load(&self.path) } else { None };
        self.pulse = EvalHeartbeat::load(&self.path);
        self.now = match held {
            true if self.done() >= self.epochs && self.beat.is_none() => Now::Evaluating,
            false if self.pulse.is_some() => Now::Evaluating,
            true => Now::Training,
            false if self.done() < self.epochs => Now::Stopped,
            false if self.is_evaluated() => Now::Evaluated,
            false => Now::Trained,
        };
    }

    /// Whether there is a record of the current best checkpoint.
    fn is_evaluated(&self) -> bool {
        !evaluations::evaluations(&self.path, &self.path.join("best.safetensors")).current.is_empty()
    }

    /// Whether a process is working on it.
    pub fn busy(&self) -> bool {
        matches!(self.now, Now::Training | Now::Evaluating)
    }

    /// The current attack: of the measurement after an epoch, or of an evaluation.
    pub fn attack(&self) -> Option<&UnderWay> {
        let measured = self.beat.as_ref().and_then(|beat| beat.under_way.as_ref());
        measured.or_else(|| self.pulse.as_ref()?.under_way.as_ref().filter(|_| self.now == Now::Evaluating))
    }

    /// Epochs done.
    pub fn done(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.epoch)
    }

    /// The name of the first accuracy under an attack that is measured while it trains.
    pub fn robust(&self) -> Option<&str> {
        let names = self.rows.iter().rev().flat_map(|row| row.values.keys());
        names.map(String::as_str).find(|name| !name.starts_with("train_") && !["natural", "lr"].contains(name))
    }

    /// (epoch, value) of a metric.
    pub fn curve(&self, name: &str) -> Vec<(f64, f64)> {
        let finite =
            |row: &Row| Some((row.epoch as f64, *row.values.get(name)?)).filter(|(_, value)| value.is_finite());
        self.rows.iter().filter_map(finite).collect()
    }

    /// The last value of a metric that was measured.
    pub fn last(&self, name: &str) -> Option<f64> {
        self.curve(name).last().map(|(_, value)| *value)
    }

    /// Losses and other training means: now, and at the end of the last epoch.
    pub fn means(&self) -> Vec<(String, Option<f64>, Option<f64>)> {
        let before = self.rows.last().into_iter().flat_map(|row| row.values.keys());
        let before = before.filter(|name| name.starts_with("train_") || *name == "lr");
        let names = distinct(self.beat.iter().flat_map(|beat| beat.values.keys()).chain(before));
        let now = |name: &str| self.beat.as_ref().and_then(|beat| beat.values.get(name).copied());
        names.iter().map(|name| (name.trim_start_matches("train_").to_string(), now(name), self.last(name))).collect()
    }

    /// The time until it is trained, as far as it is known.
    pub fn left(&self) -> Option<String> {
        let seconds = self.beat.as_ref()?.seconds_left?;
        Duration::try_from_secs_f64(seconds).ok().map(human)
    }

    /// Everything in one line: `AT: training, epoch 3 of 40, step 120 of 391, loss 0.4321, natural
    /// 97.20, 12 min 05 s left`; or `AT: evaluating, 40 of 40 epochs, attack 2 of 3: pgd20, 320 of
    /// 1000 images, accuracy 61.25 %, …`.
    pub fn line(&self) -> String {
        let mut parts = vec![format!("{}: {}", self.label, self.now)];
        match &self.beat {
            Some(beat) if beat.measuring => parts.push(format!("measuring epoch {} of {}", beat.epoch, beat.epochs)),
            Some(beat) => {
                parts.push(format!("epoch {} of {}, step {} of {}", beat.epoch, beat.epochs, beat.step, beat.steps));
            }
            None => parts.push(format!("{} of {} epochs", self.done(), self.epochs)),
        }
        parts.extend(self.attack().map(ToString::to_string));
        let now = self.beat.as_ref().and_then(|beat| beat.values.get("train_loss").copied());
        parts.extend(now.or_else(|| self.last("train_loss")).map(|loss| format!("loss {loss:.4}")));
        for name in ["natural"].into_iter().chain(self.robust()) {
            parts.extend(self.last(name).map(|value| format!("{name} {value:.2}")));
        }
        parts.extend(self.left().map(|left| format!("{left} left")));
        parts.join(", ")
    }
}
