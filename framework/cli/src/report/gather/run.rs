//! One run, read from its folder.

use foil::{AtPath, Error, Result};
use foil_runs::pipeline::{Pipeline, look};
use foil_runs::record::card::said;
use foil_runs::record::metrics;
use foil_runs::record::select::Held;
use foil_runs::record::{Best, EvalRecord, Evaluation, ImageRecord, Row, Rule, evaluations};
use foil_runs::train::{Done, Folder};
use std::path::{Path, PathBuf};

/// A run, as read from its folder.
#[derive(Debug)]
pub struct Run {
    /// The folder.
    pub path: PathBuf,
    /// The pipeline that was resolved at its start.
    pub pipeline: Pipeline,
    /// [`Pipeline::training_hash`].
    pub hash: String,
    /// [`Pipeline::method_hash`]: the same for all seeds.
    pub method: String,
    /// Its curves, one row per epoch.
    pub metrics: Vec<Row>,
    /// Epochs done and saved.
    pub epochs: u64,
    /// The epoch that was selected so far, and its score by `select`.
    pub best: Option<Held>,
    /// Its evaluations, of its best checkpoint: the one that tables use first.
    pub records: Vec<Evaluation>,
    /// Whether there is a record, but of other weights than those of its best checkpoint.
    pub outdated: bool,
    /// Whether its weights came from elsewhere (`foil import`): there is no training to resume.
    pub imported: bool,
    /// Notes about the folder, one sentence each.
    pub notes: Vec<String>,
}

/// A run's stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// This many epochs are done, but not all.
    Partial(u64),
    /// Trained, and not evaluated.
    Trained,
    /// Trained and evaluated.
    Evaluated,
}

impl Run {
    /// Reads the run in a folder. Records that cannot be read become notes: the rest of the run is
    /// used.
    ///
    /// # Errors
    /// When the folder holds no run, or its pipeline cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let folder = Folder::open(path)?;
        let pipeline = look(&folder.resolved(), &[])?.pipeline;
        let mut notes = Vec::new();
        let curves = path.join("metrics.jsonl");
        let (mut metrics, torn) = match curves.exists().then(|| metrics::read(&curves)) {
            Some(Ok(read)) => read,
            Some(Err(error)) => {
                notes.push(format!("no curves: {error}"));
                Default::default()
            }
            None => Default::default(),
        };
        let found = evaluations::evaluations(path, &folder.best());
        let shown = path.display();
        // With a record of these weights, older ones are no news.
        for (record, why) in found.outdated.iter().filter(|_| found.current.is_empty()) {
            let record = record.display();
            notes.push(format!("{record} is {why} and is left out; evaluate again: foil eval {shown}"));
        }
        notes.extend(found.errors.iter().map(|error| format!("not evaluated: {}", error.message())));
        if let Some(Evaluation { path, record }) = found.current.first() {
            if record.weights.is_none() && folder.best().exists() {
                notes.push(format!("{} does not say which weights it evaluated", path.display()));
            }
            if found.current.len() > 1 {
                let (all, name) = (found.current.len(), path.file_name().unwrap_or_default().display());
                let attacks = record.entries.iter().filter(|entry| !entry.attack.is_null()).count();
                let s = if attacks == 1 { "" } else { "s" };
                notes.push(format!(
                    "{shown} has {all} evaluations; used is {name}, the widest ({attacks} attack{s} on {} images)",
                    record.n
                ));
            }
        }
        let outdated = found.current.is_empty() && !found.outdated.is_empty();
        let records = found.current;
        let done = match folder.done() {
            Ok(Some(done)) => done,
            // If the state was removed to save space, the last weights show that the last row is
            // complete.
            Ok(None) if folder.last().exists() => {
                Done { epochs: metrics.last().map_or(0, |row| row.epoch), ..Done::default() }
            }
            Ok(None) => Done::default(),
            Err(error) => {
                notes.push(error.message().to_string());
                Done::default()
            }
        };
        let epochs = done.epochs;
        if torn {
            notes.push(format!("{}: its last line is incomplete and is left out", curves.display()));
        }
        // If no epoch is recorded at all, callers report it themselves. Rows that the state does
        // not confirm are not shown.
        if let Some(fault) = metrics::fault(&metrics, epochs, &done.metrics).filter(|_| curves.exists()) {
            let left_out = if done.metrics.is_empty() { "" } else { ", and is left out" };
            notes.push(format!("{} {fault}{left_out}", curves.display()));
            if !done.metrics.is_empty() {
                metrics.clear();
            }
        }
        let best = best(&pipeline, &metrics);
        let (mut hash, mut method) = (pipeline.training_hash()?, pipeline.method_hash()?);
        let imported = folder.imported().unwrap_or_default(); // Unreadable weights are reported where they are needed.
        if let Some(from) = &imported {
            // Pipelines of imported weights do not depend on the weights: no two files are seeds
            // of one method.
            [&mut hash, &mut method].into_iter().for_each(|hash| *hash += from);
        }
        let (path, imported) = (path.to_path_buf(), imported.is_some());
        Ok(Self { path, pipeline, hash, method, metrics, epochs, best, records, outdated, imported, notes })
    }

    /// Reads the runs in several folders; returns an error for each that cannot be read.
    pub fn load_all(paths: &[PathBuf]) -> (Vec<Self>, Vec<Error>) {
        let (mut runs, mut errors) = (Vec::new(), Vec::new());
        for path in paths {
            match Self::load(path) {
                Ok(run) => runs.push(run),
                // Problems of a pipeline already have their places.
                Err(error) if error.problems().is_some() => errors.push(error),
                Err(error) => errors.push(error.context(path.display())),
            }
        }
        (runs, errors)
    }

    /// The evaluation that tables use, if there is one.
    pub fn eval(&self) -> Option<&EvalRecord> {
        self.records.first().map(|one| &one.record)
    }

    /// The first evaluation that `suits` becomes the one that is used; `suits` is also given the
    /// number of test images. Where none does, nothing changes.
    pub fn use_record(&mut self, suits: impl Fn(&EvalRecord, u64) -> bool) {
        let images = self.images_to_evaluate();
        if let Some(n) = self.records.iter().position(|one| suits(&one.record, images)) {
            self.records[..=n].rotate_right(1);
        }
    }

    /// Test images of its data set; those of its evaluation where that is not known.
    pub fn images_to_evaluate(&self) -> u64 {
        let n = self.eval().map_or(0, |eval| eval.n);
        foil_runs::data::facts(&self.pipeline).map_or(n, |facts| facts.counts.test as u64)
    }

    /// What the labels of its data set mean, by class. Where the data set is not on this machine,
    /// the checkpoint knows; empty where that does not either.
    pub fn class_names(&self) -> Vec<String> {
        let of_data = foil_runs::data::facts(&self.pipeline).ok().map(|facts| facts.class_names);
        let of_card = || said(&foil::tensors::metadata(&Folder::named(&self.path).best()).ok()?, "classes");
        of_data.or_else(of_card).unwrap_or_default()
    }

    /// What became of each image of its evaluation; none where that was not stored.
    ///
    /// # Errors
    /// When the file is there but cannot be read, or does not belong to the evaluation.
    pub fn images(&self) -> Result<Option<ImageRecord>> {
        let Some(Evaluation { path, record: eval }) = self.records.first() else { return Ok(None) };
        let (path, name) = (ImageRecord::beside(path), path.file_name().unwrap_or_default().display());
        if !path.exists() {
            return Ok(None);
        }
        let again = |error: Error| error.help(format!("evaluate again: foil eval {}", self.path.display()));
        if let Some(written) = &eval.images
            && *written != foil::hash::file_hash(&path).at("reading", &path)?
        {
            let message = format!("{} is not the table that {name} was written with", path.display());
            return Err(again(Error::new(message)));
        }
        let images = ImageRecord::load(&path).map_err(Error::of)?;
        if images.len() as u64 != eval.n {
            let (images, n) = (images.len(), eval.n);
            let message = format!("{} has {images} images, but {name} has {n}", path.display());
            return Err(again(Error::new(message)));
        }
        Ok(Some(images))
    }

    /// Whether the two are the same training under two names: the same pipeline with the same
    /// seed, and the same figures wherever both were evaluated alike. (On a GPU the same seed may
    /// give different figures.)
    pub fn repeats(&self, other: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (self.eval(), other.eval()) else { return false };
        let mut both = ours.entries.iter().filter_map(|entry| Some((entry, theirs.entry(&entry.name)?))).peekable();
        self.hash == other.hash
            && ours.n == theirs.n
            && both.peek().is_some()
            && both.all(|(a, b)| a.attack != b.attack || a.accuracy == b.accuracy)
    }

    /// Its name.
    pub fn label(&self) -> &str {
        self.pipeline.name.as_deref().unwrap_or("run")
    }

    /// `evaluated on 500 of 10000 test images`; `None` if it was evaluated on all, or not at all.
    pub fn evaluated_on_part(&self) -> Option<String> {
        let images = foil_runs::data::facts(&self.pipeline).ok()?.counts.test as u64;
        let eval = self.eval().filter(|eval| eval.n < images)?;
        Some(format!("evaluated on {} of {images} test images", eval.n))
    }

    /// Its stage.
    pub fn stage(&self) -> Stage {
        match self.eval() {
            _ if !self.imported && self.epochs < self.pipeline.train.epochs => Stage::Partial(self.epochs),
            None => Stage::Trained,
            Some(_) => Stage::Evaluated,
        }
    }
}

/// The trainer's selection: the same rule over the same rows gives the same epoch.
fn best(pipeline: &Pipeline, metrics: &[Row]) -> Option<Held> {
    let rule = Rule::parse(&pipeline.select).ok()?;
    let mut best = Best::default();
    for row in metrics {
        if let Ok(score) = rule.eval(|name| row.values.get(name).copied()) {
            best.offer(row.epoch, score);
        }
    }
    best.held
}

/// The run folders among and below `roots`, sorted. Folders in a run folder, and deeper than three
/// levels, are not searched.
pub fn find(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    roots.iter().for_each(|root| below(root, 3, &mut found));
    found.sort();
    found.dedup();
    found
}

/// The run folders among and below `paths`, in their order, and a note about each path that has
/// none, since a shell's `runs/*` includes other files too.
///
/// # Errors
/// When a path does not exist, or none has a run.
pub fn named(paths: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let (mut found, mut without): (Vec<PathBuf>, Vec<&Path>) = (Vec::new(), Vec::new());
    for path in paths {
        if !path.exists() {
            return Err(Error::new(format!("{} does not exist", path.display()))
                .help("runs are in runs/ unless --run-dir was given"));
        }
        let runs = find(std::slice::from_ref(path));
        if runs.is_empty() {
            without.push(path);
        }
        let new: Vec<PathBuf> = runs.into_iter().filter(|run| !found.contains(run)).collect();
        found.extend(new);
    }
    if found.is_empty() {
        let places: Vec<String> = without.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::new(format!("there is no run in {}: no resolved.yaml in it or below", places.join(", ")))
            .help("name a folder that `foil train` made, or one above it"));
    }
    let note = |path: &&Path| format!("{} holds no run and is left out", path.display());
    Ok((found, without.iter().map(note).collect()))
}

fn below(folder: &Path, levels: usize, found: &mut Vec<PathBuf>) {
    if Folder::open(folder).is_ok() {
        found.push(folder.to_path_buf());
    } else if levels > 0 {
        let entries = folder.read_dir().into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().is_dir()).for_each(|entry| below(&entry.path(), levels - 1, found));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_folders_are_found_below_others() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        for run in ["a", "sweep/b", "sweep/deep/c", "a/inside", "1/2/3/4/too_deep"] {
            std::fs::create_dir_all(root.join(run)).unwrap();
            std::fs::write(root.join(run).join("resolved.yaml"), "").unwrap();
        }
        let found = find(&[root.to_path_buf(), root.join("a"), root.join("nowhere")]);
        assert_eq!(found, ["a", "sweep/b", "sweep/deep/c"].map(|run| root.join(run)));
    }
}
