//! The data set of a run: what is known about it, and the content by which a run is tied to the data
//! it was trained on, wherever they are.

use crate::pipeline::Pipeline;
use foil::data::{DataSource, Dataset, Facts, Located, Reading};
use foil::engine::Normalize;
use foil::registry::Component;
use foil::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

/// A data set's settings, and the folder that paths in them are relative to.
type Settings = (String, PathBuf);

/// A copy of a data set: its settings, where it is, and the lengths and times of the files there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    settings: Settings,
    place: String,
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

/// The data that this process has asked about or read.
#[derive(Default)]
struct Known {
    facts: HashMap<Settings, Facts>,
    contents: HashMap<Source, String>,
    /// Read only for its content, but needed again soon.
    kept: Option<(Source, Dataset)>,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// What is known about the data set of a pipeline without reading it.
///
/// # Errors
/// When even that needs files, and they are not there.
pub fn facts(pipeline: &Pipeline) -> Result<Facts> {
    facts_of(&pipeline.data, &pipeline.folder)
}

/// As [`facts`], of a data set whose paths are relative to `folder`.
///
/// # Errors
/// As [`facts`].
pub fn facts_of(data: &Component<dyn DataSource>, folder: &Path) -> Result<Facts> {
    let settings = settings(data, folder)?;
    if let Some(facts) = known(|known| known.facts.get(&settings).cloned()) {
        return Ok(facts);
    }
    let facts = data.build_within(folder)?.facts()?;
    known(|known| known.facts.insert(settings, facts.clone()));
    Ok(facts)
}

/// The name of a pipeline's data set in records and tables: the plugin's where that is all that is
/// known.
pub fn name(pipeline: &Pipeline) -> String {
    facts(pipeline).map_or_else(|_| pipeline.data.name().to_string(), |facts| facts.name)
}

/// Mean and standard deviation of the training images per channel, in [0, 1] image units; they are
/// measured where the data set does not state them. With `dry`, and where `normalize` does not need
/// them, they may be 0 and 1 instead.
///
/// # Errors
/// When they must be measured, and the data set is not found or its files are damaged.
pub fn moments(pipeline: &Pipeline, dry: bool) -> Result<(Vec<f64>, Vec<f64>)> {
    let facts = facts(pipeline)?;
    if !facts.mean.is_empty() {
        return Ok((facts.mean, facts.std));
    }
    let networks = pipeline.networks.values().map(|network| &network.normalize);
    let measures = networks.chain([&pipeline.normalize]).any(Normalize::is_of_data);
    if dry || !measures {
        return Ok((vec![0.0; facts.image[0]], vec![1.0; facts.image[0]]));
    }
    let (data, source) = taken(pipeline)?;
    let moments = data.train.moments();
    known(|known| known.kept = Some((source, data)));
    Ok(moments)
}

/// Checks that the data set of a pipeline is on this machine, without reading it.
///
/// # Errors
/// When it is not, with the places searched and what to do.
pub fn find(pipeline: &Pipeline) -> Result<()> {
    locate(pipeline).map(drop)
}

fn locate(pipeline: &Pipeline) -> Result<Located> {
    pipeline.data.build_within(&pipeline.folder)?.locate()
}

/// Reads the data set of `pipeline`; notes about it go to the log.
///
/// # Errors
/// When it is not found, its files are damaged, or its content differs from the pipeline's
/// `images.content`.
pub fn read(pipeline: &Pipeline) -> Result<Dataset> {
    let data = load(pipeline)?;
    tell(&data);
    Ok(data)
}

/// As [`read`] where there is no log yet; call [`tell`] once there is.
pub fn load(pipeline: &Pipeline) -> Result<Dataset> {
    let (data, source) = taken(pipeline)?;
    let content = agreed(pipeline, &data)?;
    known(|known| known.contents.insert(source, content));
    Ok(data)
}

/// Logs the notes from reading a data set.
pub fn tell(data: &Dataset) {
    for note in &data.notes {
        tracing::warn!("{note}");
    }
}

/// The content of `data`, checked against the pipeline's if that is set.
fn agreed(pipeline: &Pipeline, data: &Dataset) -> Result<String> {
    let content = data.content();
    let Some(expected) = pipeline.images.content.as_ref().filter(|expected| **expected != content) else {
        return Ok(content);
    };
    let (name, origin) = (&data.facts.name, &data.origin);
    Err(Error::new(format!(
        "`{name}` in {origin} has the content {content}, but `images.content` is {expected}: the run is on other data"
    ))
    .help("put the data of the run back, say where they are with `data.path`, or take these: images.content=null"))
}

/// The content of the data set of `pipeline`: as set in the pipeline, or else from its files;
/// `None` for one that has no files. With `keep` the data stay in memory until they are read.
///
/// # Errors
/// When it is not found, its files are damaged, or with `keep` its content differs from the
/// pipeline's.
pub(crate) fn content(pipeline: &Pipeline, keep: bool) -> Result<Option<String>> {
    let said = pipeline.images.content.as_ref();
    if !keep && let Some(content) = said {
        return Ok(Some(content.clone()));
    }
    let located = locate(pipeline)?;
    if located.files.is_empty() {
        return Ok(None);
    }
    let source = source(pipeline, located)?;
    let found = known(|known| known.contents.get(&source).cloned());
    if let Some(content) = found.filter(|content| said.is_none_or(|said| said == content)) {
        return Ok(Some(content));
    }
    let (data, source) = taken(pipeline)?;
    let content = agreed(pipeline, &data)?;
    known(|known| {
        known.contents.insert(source.clone(), content.clone());
        known.kept = keep.then_some((source, data));
    });
    Ok(Some(content))
}

/// Shows the reading of the data set with a name until it ends, which the flag says.
pub type Watcher = fn(&str, &Reading, &AtomicBool);

static WATCHER: OnceLock<Watcher> = OnceLock::new();

/// Has the reading of data sets shown by `watcher`, in a thread of its own.
pub fn watched_by(watcher: Watcher) {
    let _ = WATCHER.set(watcher);
}

/// Calls `read`, which is shown if there is a watcher; `name` is the data set's.
///
/// # Errors
/// Those of `read`.
pub fn watched<T>(name: &str, read: impl FnOnce(&Reading) -> Result<T>) -> Result<T> {
    let (progress, ended) = (Reading::default(), AtomicBool::new(false));
    let Some(watcher) = WATCHER.get() else { return read(&progress) };
    std::thread::scope(|scope| {
        scope.spawn(|| watcher(name, &progress, &ended));
        let done = foil::guard(|| read(&progress));
        ended.store(true, Ordering::Relaxed);
        done
    })
}

/// The data, kept or read now.
fn taken(pipeline: &Pipeline) -> Result<(Dataset, Source)> {
    let source = source(pipeline, locate(pipeline)?)?;
    let kept = known(|known| known.kept.take_if(|(kept, _)| *kept == source));
    let data = match kept {
        Some((_, data)) => data,
        None => {
            let set = pipeline.data.build_within(&pipeline.folder)?;
            watched(pipeline.data.name(), |progress| set.read(progress))?
        }
    };
    Ok((data, source))
}

fn settings(data: &Component<dyn DataSource>, folder: &Path) -> Result<Settings> {
    Ok((serde_yaml::to_string(data).map_err(Error::of)?, folder.to_path_buf()))
}

fn source(pipeline: &Pipeline, located: Located) -> Result<Source> {
    let facts = |path: PathBuf| {
        let facts = std::fs::metadata(&path).ok()?;
        Some((path, facts.len(), facts.modified().ok()))
    };
    let files = located.files.into_iter().filter_map(facts).collect();
    Ok(Source { settings: settings(&pipeline.data, &pipeline.folder)?, place: located.place, files })
}

fn known<T>(look: impl FnOnce(&mut Known) -> T) -> T {
    look(&mut KNOWN.lock().unwrap_or_else(PoisonError::into_inner))
}
