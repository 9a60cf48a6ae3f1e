//! Which runs of a work list are on disk.

use crate::report::gather::find;
use crate::report::{Run, Stage};
use foil::atomic;
use foil::{AtPath, Error, Result};
use foil_runs::pipeline::{Pipeline, Wanted, evaluated_alike};
use foil_runs::record::ImageRecord;
use foil_runs::train::Folder;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// A run of the list, its folder, and its state.
#[derive(Debug, Clone)]
pub struct Task {
    /// The run.
    pub wanted: Wanted,
    /// Its folder, existing or new.
    pub folder: PathBuf,
    /// Its state.
    pub state: State,
    /// Whether it is the only run of its row.
    pub alone: bool,
    /// Other folders with the same run, which are left alone.
    pub copies: Vec<PathBuf>,
}

/// What is left to do for a run, from everything to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Everything.
    New,
    /// Training: this many epochs are done.
    Partial(u64),
    /// The evaluation: there is none.
    Trained,
    /// The evaluation: the existing one has other settings.
    EvaluatedOtherwise,
    /// The evaluation: the existing one is of other weights.
    Outdated,
    /// Nothing.
    Done,
}

/// What will be done, as `foil compare --dry-run` prints it.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::New => f.write_str("needs training"),
            State::Partial(0) => f.write_str("started; needs training"),
            State::Partial(1) => f.write_str("to be resumed from epoch 1"),
            State::Partial(done) => write!(f, "to be resumed from epoch {done}"),
            State::Trained => f.write_str("trained; needs evaluation"),
            State::EvaluatedOtherwise => f.write_str("trained; needs re-evaluation (its settings changed)"),
            State::Outdated => f.write_str("trained; needs re-evaluation (its weights changed)"),
            State::Done => f.write_str("done"),
        }
    }
}

/// Finds the runs of `wanted` among and below `dir` by what they train, whatever their names; the
/// others get a folder in `dir`. Also returns notes on folders that could not be read.
///
/// # Errors
/// When a pipeline has no YAML form.
pub fn plan(wanted: Vec<Wanted>, dir: &Path) -> Result<(Vec<Task>, Vec<Error>)> {
    let (runs, unreadable) = Run::load_all(&find(&[dir.to_path_buf()]));
    let mut members: HashMap<String, usize> = HashMap::new();
    wanted.iter().for_each(|one| *members.entry(one.row.clone()).or_default() += 1);
    let mut taken: HashSet<PathBuf> = HashSet::new();
    let mut tasks: Vec<Task> = Vec::new();
    for mut wanted in wanted {
        let mut found: Vec<(State, &Path)> = runs
            .iter()
            .filter(|run| run.hash == wanted.hash && !taken.contains(&run.path))
            .map(|run| (state(run, &wanted.pipeline), run.path.as_path()))
            .collect();
        found.sort_by_key(|(state, _)| std::cmp::Reverse(*state)); // the most advanced first; of equals, the first by name
        let copies = found.iter().skip(1).map(|(_, path)| path.to_path_buf()).collect();
        let (state, folder) = match found.first() {
            Some((state, path)) => (*state, path.to_path_buf()),
            None => (State::New, free(dir, &mut wanted, &tasks, &runs, &taken)),
        };
        taken.insert(folder.clone());
        let alone = members.get(&wanted.row) == Some(&1);
        tasks.push(Task { wanted, folder, state, alone, copies });
    }
    Ok((tasks, unreadable))
}

/// The state of `run` with respect to `wanted`.
fn state(run: &Run, wanted: &Pipeline) -> State {
    match run.stage() {
        Stage::Partial(done) => State::Partial(done),
        Stage::Trained if run.outdated => State::Outdated,
        Stage::Trained => State::Trained,
        Stage::Evaluated if is_evaluated(run, wanted) => State::Done,
        Stage::Evaluated => State::EvaluatedOtherwise,
    }
}

/// Whether a record of `run` answers what the evaluation of `wanted` asks.
fn is_evaluated(run: &Run, wanted: &Pipeline) -> bool {
    run.records.iter().any(|one| wanted.is_evaluated_by(&one.record, run.images_to_evaluate()))
}

/// A folder for a new run: its name; where that is taken, with what this run trains otherwise,
/// which is then part of the run's name, too; or else with part of its hash.
fn free(dir: &Path, wanted: &mut Wanted, tasks: &[Task], runs: &[Run], taken: &HashSet<PathBuf>) -> PathBuf {
    let name = wanted.pipeline.name.clone().unwrap_or_else(|| "run".into());
    let folder = name.replace(['/', '\\'], "_");
    let fits = |path: &PathBuf| !taken.contains(path) && !path.join("resolved.yaml").exists();
    let plain = dir.join(&folder);
    if fits(&plain) {
        return plain;
    }
    let task = tasks.iter().find(|task| task.folder == plain).map(|task| &task.wanted.pipeline);
    let there = task.or_else(|| runs.iter().find(|run| run.path == plain).map(|run| &run.pipeline));
    let change = there.and_then(|there| wanted.pipeline.change_from(there).ok()).unwrap_or_default();
    match change.folder(&folder).map(|folder| dir.join(folder)).filter(fits) {
        Some(path) => {
            wanted.pipeline.name = change.name(&name).or(Some(name));
            path
        }
        None => dir.join(format!("{folder}-{}", &wanted.hash[..12])),
    }
}

impl Task {
    /// Its name in messages: its row, and its seed if the row has several.
    pub fn title(&self) -> String {
        match self.alone {
            true => self.wanted.row.clone(),
            false => format!("{} (seed {})", self.wanted.row, self.wanted.pipeline.seed),
        }
    }

    /// Overrides that turn the evaluation of the run in the folder into the requested one; empty
    /// if it is already.
    pub fn suite(&self) -> Vec<String> {
        if Run::load(&self.folder).is_ok_and(|run| evaluated_alike(&run.pipeline, &self.wanted.pipeline)) {
            return Vec::new();
        }
        let pipeline = &self.wanted.pipeline;
        let mut words = vec![format!("evaluate={}", serde_json::json!(pipeline.evaluate))];
        let attacks = pipeline.evaluate.iter().filter(|name| pipeline.attacks.contains_key(*name));
        words.extend(attacks.map(|name| format!("attacks.{name}={}", pipeline.attack_settings(name))));
        if pipeline.evaluates_corruptions() {
            words.push(format!("corruptions={}", pipeline.attack_settings(foil_runs::eval::CORRUPTIONS)));
        }
        let limit = pipeline.images.test_limit.map_or("null".to_string(), |limit| limit.to_string());
        words.push(format!("images.test_limit={limit}"));
        words.push(format!("train.eval_precision={}", pipeline.train.eval_precision.name()));
        words
    }

    /// The run's current state.
    ///
    /// # Errors
    /// When its folder cannot be read, or holds another run.
    pub fn look(&self) -> Result<State> {
        if !self.folder.join("resolved.yaml").exists() {
            return Ok(State::New);
        }
        let run = Run::load(&self.folder)?;
        if run.hash != self.wanted.hash {
            return Err(Error::new(format!("{} holds a run with other settings", self.folder.display()))
                .help("move that one, or choose another folder with --dir"));
        }
        Ok(state(&run, &self.wanted.pipeline))
    }

    /// Makes the folder of a new run, in which `foil train --resume` starts it.
    ///
    /// # Errors
    /// When the data are not found, or the folder cannot be made.
    pub fn prepare(&self) -> Result<()> {
        foil_runs::data::find(&self.wanted.pipeline)?;
        let (folder, _lock) = Folder::create(&self.folder)?;
        let resolved = folder.resolved();
        let pipeline = self.wanted.pipeline.carried_into(folder.path())?;
        pipeline.lock_libraries(folder.path())?;
        atomic::write(&resolved, pipeline.to_yaml()?).at("writing", &resolved)
    }

    /// The run with its evaluation and, if there is one, the image record.
    ///
    /// # Errors
    /// As [`Run::load`].
    pub fn read(&self) -> Result<(Run, Option<ImageRecord>)> {
        let mut run = Run::load(&self.folder)?;
        run.use_record(|record, images| self.wanted.pipeline.is_evaluated_by(record, images));
        let images = match run.images() {
            Ok(images) => images,
            Err(error) => {
                run.notes.push(error.message().to_string());
                None
            }
        };
        Ok((run, images))
    }
}
