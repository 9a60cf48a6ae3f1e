//! One run, read from its folder.

use foil::pipeline::{Pipeline, look};
use foil::record::metrics;
use foil::record::select::Held;
use foil::record::{Best, EvalRecord, ImageRecord, Row, Rule};
use foil::train::Folder;
use foil::{Error, Result};
use std::path::{Path, PathBuf};

/// A run as its folder has it.
#[derive(Debug)]
pub struct Run {
    /// The folder.
    pub path: PathBuf,
    /// The pipeline that was resolved when it began.
    pub pipeline: Pipeline,
    /// [`Pipeline::training_hash`].
    pub hash: String,
    /// [`Pipeline::method_hash`]: the same for all seeds.
    pub method: String,
    /// Its curves, an epoch a row.
    pub metrics: Vec<Row>,
    /// Epochs done, of which a run that goes on keeps the result.
    pub epochs: u64,
    /// The epoch that was selected so far, and its score by `select`.
    pub best: Option<Held>,
    /// The record of its evaluation (`eval.json`), if there is one that can be read, and it is of
    /// its best checkpoint.
    pub eval: Option<EvalRecord>,
    /// Whether there is a record, but of other weights than those of its best checkpoint.
    pub outdated: bool,
    /// Whether its weights came from elsewhere (`foil import`): there is no training to go on with.
    pub imported: bool,
    /// What is odd about the folder, each in a sentence for people.
    pub notes: Vec<String>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// So many epochs are done, but not all.
    Partial(u64),
    /// Trained, and not evaluated.
    Trained,
    /// Trained and evaluated.
    Evaluated,
}

impl Run {
    /// Reads the run in a folder. Records that cannot be read are notes: the rest of the run
    /// stands.
    ///
    /// # Errors
    /// When the folder holds no run, or its pipeline cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let folder = Folder::open(path)?;
        let pipeline = look(&folder.resolved(), &[])?.pipeline;
        let mut notes = Vec::new();
        let curves = path.join("metrics.jsonl");
        let (metrics, torn) = match curves.exists().then(|| metrics::read(&curves)) {
            Some(Ok(read)) => read,
            Some(Err(error)) => {
                notes.push(format!("no curves: {error}"));
                Default::default()
            }
            None => Default::default(),
        };
        let record = path.join("eval.json");
        let read = record.exists().then(|| -> Result<_> {
            let eval = EvalRecord::load(&record).map_err(Error::of)?;
            let why = eval.outdated(&folder.best())?;
            Ok((eval, why))
        });
        let (eval, outdated) = match read {
            Some(Ok((eval, None))) => {
                if eval.weights.is_none() && folder.best().exists() {
                    notes.push(format!("{} does not say which weights it evaluated", record.display()));
                }
                (Some(eval), false)
            }
            Some(Ok((_, Some(why)))) => {
                let (record, run) = (record.display(), path.display());
                notes.push(format!("{record} is {why} and is left out; evaluate again: foil eval {run}"));
                (None, true)
            }
            Some(Err(error)) => {
                notes.push(format!("not evaluated: {}", error.message()));
                (None, false)
            }
            None => (None, false),
        };
        let epochs = match folder.epochs_done() {
            Ok(Some(epochs)) => epochs,
            // Where the state was removed to save room, the last weights tell that the last row is
            // whole.
            Ok(None) if folder.last().exists() => metrics.last().map_or(0, |row| row.epoch),
            Ok(None) => 0,
            Err(error) => {
                notes.push(error.message().to_string());
                0
            }
        };
        if torn {
            notes.push(format!("{}: its last line is incomplete and is left out", curves.display()));
        }
        // Where no epoch is recorded at all, readers say so themselves.
        if let Some(gap) = metrics::gap(&metrics, epochs).filter(|_| curves.exists()) {
            notes.push(format!("{} {gap}", curves.display()));
        }
        let best = best(&pipeline, &metrics);
        let (mut hash, mut method) = (pipeline.training_hash()?, pipeline.method_hash()?);
        let imported = folder.imported().unwrap_or_default(); // Weights that cannot be read are told where they are needed.
        if let Some(from) = &imported {
            // Pipelines of imported weights are alike whatever the weights are: no two files are
            // seeds of one method.
            [&mut hash, &mut method].into_iter().for_each(|hash| *hash += from);
        }
        let (path, imported) = (path.to_path_buf(), imported.is_some());
        Ok(Self { path, pipeline, hash, method, metrics, epochs, best, eval, outdated, imported, notes })
    }

    /// Reads the runs in several folders; one that cannot be read is an error beside the others.
    pub fn load_all(paths: &[PathBuf]) -> (Vec<Self>, Vec<Error>) {
        let (mut runs, mut errors) = (Vec::new(), Vec::new());
        for path in paths {
            match Self::load(path) {
                Ok(run) => runs.push(run),
                // The problems of a pipeline say where they are themselves.
                Err(error) if error.problems().is_some() => errors.push(error),
                Err(error) => errors.push(error.context(path.display())),
            }
        }
        (runs, errors)
    }

    /// What became of each image of its evaluation; none where that was not stored.
    ///
    /// # Errors
    /// When the file is there but cannot be read, or does not belong to the evaluation.
    pub fn images(&self) -> Result<Option<ImageRecord>> {
        let path = ImageRecord::beside(&self.path.join("eval.json"));
        let Some(eval) = self.eval.as_ref().filter(|_| path.exists()) else { return Ok(None) };
        let images = ImageRecord::load(&path).map_err(Error::of)?;
        if images.len() as u64 != eval.n {
            let (images, n) = (images.len(), eval.n);
            let message = format!("{} has {images} images, but eval.json has {n}", path.display());
            return Err(Error::new(message).help(format!("evaluate again: foil eval {}", self.path.display())));
        }
        Ok(Some(images))
    }

    /// Whether the two are one training under two names: the same pipeline with the same seed, and
    /// the same figures wherever both were judged alike. (On a GPU the same seed may well come to
    /// other figures.)
    pub fn repeats(&self, other: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (&self.eval, &other.eval) else { return false };
        let mut both = ours.entries.iter().filter_map(|entry| Some((entry, theirs.entry(&entry.name)?))).peekable();
        self.hash == other.hash
            && ours.n == theirs.n
            && both.peek().is_some()
            && both.all(|(a, b)| a.attack != b.attack || a.accuracy == b.accuracy)
    }

    /// What it is called.
    pub fn label(&self) -> &str {
        self.pipeline.name.as_deref().unwrap_or("run")
    }

    /// `judged on 500 of 10000 test images`; none when it is judged on all, or on none.
    pub fn judged_on_part(&self) -> Option<String> {
        let images = foil_data::entry(&self.pipeline.data.name).ok()?.counts.test as u64;
        let eval = self.eval.as_ref().filter(|eval| eval.n < images)?;
        Some(format!("evaluated on {} of {images} test images", eval.n))
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        match self.eval {
            _ if !self.imported && self.epochs < self.pipeline.train.epochs => Stage::Partial(self.epochs),
            None => Stage::Trained,
            Some(_) => Stage::Evaluated,
        }
    }
}

/// What the trainer selected: the same rule over the same rows gives the same epoch.
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
/// levels, are not looked at.
pub fn find(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    roots.iter().for_each(|root| below(root, 3, &mut found));
    found.sort();
    found.dedup();
    found
}

/// The run folders among and below `paths`, in their order, and a sentence about each path that has
/// none: `runs/*` of a shell names other things too.
///
/// # Errors
/// When a path is not there, or none has a run.
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
