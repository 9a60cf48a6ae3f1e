//! The runs of a comparison: files × the combinations of their sweeps × seeds.

use super::{Assembled, Combination, Loaded, Pipeline, assemble, load};
use crate::eval::{CORRUPTIONS, Corruptions};
use crate::record::{EvalRecord, stamp};
use foil::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// One run of the list.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The row of the table that it belongs to; runs of one row differ in their seed only.
    pub row: String,
    /// Its pipeline, with name and seed set.
    pub pipeline: Pipeline,
    /// [`Pipeline::training_hash`].
    pub hash: String,
    /// The file it came from.
    pub file: PathBuf,
}

/// All runs, rows in the order of the files, and notes about them.
#[derive(Debug, Default)]
pub struct WorkList {
    /// The runs; those of a row are adjacent, ordered by seed.
    pub runs: Vec<Wanted>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

impl WorkList {
    /// Reads `files` with `overrides` and builds every pipeline once without its weights, so that
    /// problems in the last one are reported before the first is trained. With `seeds`, each runs
    /// with this many seeds, counting up from its own.
    ///
    /// # Errors
    /// All problems of the first file that has some, a seed that is swept too, or files of
    /// different data sets.
    pub fn of(files: &[PathBuf], overrides: &[String], seeds: Option<u64>) -> Result<Self> {
        let mut list = Self::default();
        for file in files {
            for (row, pipeline) in rows(file, overrides, seeds, files.len() > 1)? {
                let base = pipeline.seed;
                for n in 0..seeds.unwrap_or(1) {
                    let seed =
                        base.checked_add(n).ok_or_else(|| Error::new(format!("there is no seed {base} + {n}")))?;
                    let pipeline = Pipeline { seed, ..pipeline.clone() };
                    list.push(Wanted {
                        row: row.clone(),
                        hash: pipeline.training_hash()?,
                        pipeline,
                        file: file.clone(),
                    });
                }
            }
        }
        list.of_one_data_set()?;
        list.tell_rows_apart();
        Ok(list)
    }

    /// Adds a run, unless it is already listed under another name.
    fn push(&mut self, wanted: Wanted) {
        let same = |other: &&Wanted| other.hash == wanted.hash && evaluated_alike(&other.pipeline, &wanted.pipeline);
        match self.runs.iter().find(same) {
            Some(other) if other.row == wanted.row && other.file == wanted.file => {}
            Some(other) => {
                let note = format!(
                    "{} ({}) is the same run as {} ({}) and appears in the table once",
                    wanted.row,
                    wanted.file.display(),
                    other.row,
                    other.file.display()
                );
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
            }
            None => self.runs.push(wanted),
        }
    }

    fn of_one_data_set(&self) -> Result<()> {
        let Some(first) = self.runs.first() else { return Ok(()) };
        let data = |run: &Wanted| crate::data::name(&run.pipeline);
        let Some(other) = self.runs.iter().find(|run| data(run) != data(first)) else { return Ok(()) };
        let message = format!(
            "one table cannot compare different data sets: {} is on {}, {} on {}",
            first.row,
            data(first),
            other.row,
            data(other)
        );
        Err(Error::new(message).help("compare the files of each data set by themselves, or set data=… for all"))
    }

    /// Adds the file's name to rows of different pipelines with the same name.
    fn tell_rows_apart(&mut self) {
        let mut files: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for run in &self.runs {
            let files = files.entry(run.row.clone()).or_default();
            if !files.contains(&run.file) {
                files.push(run.file.clone());
            }
        }
        for run in self.runs.iter_mut().filter(|run| files.get(&run.row).is_some_and(|files| files.len() > 1)) {
            run.row = format!("{} ({})", run.row, run.file.display());
        }
    }
}

/// Whether the final evaluations of two pipelines are the same.
pub fn evaluated_alike(a: &Pipeline, b: &Pipeline) -> bool {
    a.evaluate == b.evaluate
        && a.evaluate.iter().all(|name| a.attack_settings(name) == b.attack_settings(name))
        && a.images.test_limit == b.images.test_limit
        && a.train.eval_precision == b.train.eval_precision
}

impl Pipeline {
    /// The settings of an attack of the evaluation as its record has them; null for `natural`; of
    /// `corruptions`, the set.
    pub fn attack_settings(&self, name: &str) -> serde_json::Value {
        let corrupted = || crate::eval::corruptions(self).ok().and_then(|set| serde_json::to_value(set).ok());
        match self.attacks.get(name) {
            Some(attack) => serde_json::to_value(attack).unwrap_or_default(),
            None if name == CORRUPTIONS => corrupted().unwrap_or_default(),
            None => serde_json::Value::Null,
        }
    }

    /// Whether a record answers what the evaluation asks: the same attacks with the same settings,
    /// on `images` images, in the same arithmetic.
    pub fn is_evaluated_by(&self, record: &EvalRecord, images: u64) -> bool {
        let names = record.entries.iter().map(|entry| entry.name.as_str());
        names.eq(self.evaluated())
            && record.corruptions.as_ref().map(Corruptions::names) == self.corrupted_parts()
            && record.entries.iter().all(|entry| entry.attack == self.attack_settings(&entry.name))
            && record.seed == self.seed
            && record.n == self.images.test_limit.map_or(images, |limit| limit.min(images))
            && record.precision == self.train.eval_precision.name()
    }

    /// The attacks of the evaluation, and `natural`, in order.
    pub fn evaluated(&self) -> impl Iterator<Item = &str> {
        self.evaluate.iter().map(String::as_str).filter(|name| *name != CORRUPTIONS)
    }

    /// The parts of the corrupted images that the evaluation measures on; `None` if it does not.
    fn corrupted_parts(&self) -> Option<Vec<String>> {
        let set = self.evaluates_corruptions().then(|| crate::eval::corruptions(self).ok())??;
        Some(set.build_within(&self.folder).ok()?.parts())
    }

    /// Whether the evaluation measures on corrupted images.
    pub fn evaluates_corruptions(&self) -> bool {
        self.evaluate.iter().any(|name| name == CORRUPTIONS)
    }

    /// Of what it asks of an evaluation: 8 hex digits, the same wherever
    /// [`Pipeline::is_evaluated_by`] is.
    pub fn eval_hash(&self, images: u64) -> String {
        let attacks: Vec<_> = self.evaluate.iter().map(|name| (name, self.attack_settings(name))).collect();
        let images = self.images.test_limit.map_or(images, |limit| limit.min(images));
        let asked = serde_json::json!([attacks, self.seed, images, self.train.eval_precision.name()]);
        stamp::config_hash(&asked.to_string())[..8].to_string()
    }
}

/// The rows of a file, each with its pipeline; with several files, a row of a sweep names its
/// file.
fn rows(file: &Path, overrides: &[String], seeds: Option<u64>, several: bool) -> Result<Vec<(String, Pipeline)>> {
    let whole = load(file, overrides)?;
    let name = whole.pipeline.name.clone().unwrap_or_default();
    if whole.pipeline.sweep.is_empty() {
        return Ok(vec![(name, buildable(whole)?)]);
    }
    if seeds.is_some() && whole.pipeline.sweep.contains_key("seed") {
        return Err(Error::new(format!("{} sweeps the seed, and --seeds is given too", file.display()))
            .help("leave out one of them"));
    }
    let row = |run: &Combination| {
        let mut pipeline = buildable(run.load(file, overrides)?)?;
        let row = if run.row.is_empty() { name.clone() } else { run.row.clone() };
        if several && !run.row.is_empty() {
            pipeline.name = Some(format!("{name},{}", run.label));
            return Ok((format!("{name},{row}"), pipeline));
        }
        Ok((row, pipeline))
    };
    whole.built(whole.pipeline.combinations(overrides))?.iter().map(row).collect()
}

/// The pipeline, with its data's content filled in if the data are available: a list can be
/// planned and summed up without them.
fn buildable(loaded: Loaded) -> Result<Pipeline> {
    loaded.built(assemble(&loaded.pipeline, Kind::Float, Device::Cpu, true).and_then(Assembled::trainable))?;
    match crate::data::find(&loaded.pipeline) {
        Ok(()) => loaded.pipeline.pinned(),
        Err(_) => Ok(loaded.pipeline),
    }
}
