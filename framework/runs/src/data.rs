//! The data sets of a run: what is known about them, and the content by which a run is tied to the
//! data it was trained on, wherever they are.

mod labelled;

pub use labelled::{Labelled, labelled};

use crate::pipeline::{ExtraConfig, Pipeline};
use foil::data::{DataSource, Dataset, Facts, Located, Reading};
use foil::engine::Normalize;
use foil::registry::Component;
use foil::{Error, Result};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

/// A data set's settings, and the folder that paths in them are relative to.
type Settings = (String, PathBuf);

/// A copy of a data set: its settings, where it is, and a hash of the lengths and times of the
/// files there, which may be very many.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    settings: Settings,
    place: String,
    files: u64,
}

/// The data that this process has asked about or read.
#[derive(Default)]
struct Known {
    facts: HashMap<Settings, Facts>,
    contents: HashMap<Source, String>,
    /// Read only for their content, but needed again soon.
    kept: Vec<(Source, Dataset)>,
}

/// One of a pipeline's data sets.
#[derive(Clone, Copy)]
struct Set<'a> {
    data: &'a Component<dyn DataSource>,
    folder: &'a Path,
    /// The content that it must have.
    content: Option<&'a String>,
    /// The keys of its content and its place.
    keys: [&'static str; 2],
}

impl<'a> Set<'a> {
    /// The one that is trained and tested on.
    fn base(pipeline: &'a Pipeline) -> Self {
        let content = pipeline.images.content.as_ref();
        Self { data: &pipeline.data, folder: &pipeline.folder, content, keys: ["images.content", "data.path"] }
    }

    /// The one that is mixed in.
    fn extra(pipeline: &'a Pipeline) -> Option<Self> {
        let ExtraConfig { data, content, .. } = pipeline.extra.as_ref()?;
        let keys = ["extra.content", "extra.data.path"];
        Some(Self { data, folder: &pipeline.folder, content: content.as_ref(), keys })
    }
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

/// The pipeline's data in a sentence: `cifar10`, or `cifar10 with 70% of each batch from edm`.
pub fn described(pipeline: &Pipeline) -> String {
    let Some(extra) = &pipeline.extra else { return name(pipeline) };
    let of = facts_of(&extra.data, &pipeline.folder).map_or_else(|_| extra.data.name().into(), |facts| facts.name);
    let labels = if extra.labels.is_some() { ", labelled by a network" } else { "" };
    format!("{} with {}% of each batch from {of}{labels}", name(pipeline), extra.share * 100.0)
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
    let (data, source) = taken(Set::base(pipeline))?;
    let moments = data.train.moments().map_err(Error::of)?;
    known(|known| known.kept.push((source, data)));
    Ok(moments)
}

/// Checks that the data sets that a pipeline trains on are on this machine, without reading them.
///
/// # Errors
/// When one is not, with the places searched and what to do.
pub fn find(pipeline: &Pipeline) -> Result<()> {
    let sets = [Some(Set::base(pipeline)), Set::extra(pipeline)];
    sets.into_iter().flatten().try_for_each(|set| locate(set).map(drop))
}

fn locate(set: Set) -> Result<Located> {
    set.data.build_within(set.folder)?.locate()
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
    load_set(Set::base(pipeline))
}

/// The set that `pipeline` mixes in, if it does; unlabelled images have the label 0. Notes about it
/// are for [`tell`].
///
/// # Errors
/// As [`read`], with `extra.content`.
pub fn load_extra(pipeline: &Pipeline) -> Result<Option<Dataset>> {
    let Some(mut data) = Set::extra(pipeline).map(load_set).transpose()? else { return Ok(None) };
    let limit = pipeline.extra.as_ref().and_then(|extra| extra.limit).unwrap_or(u64::MAX);
    data.train.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Some(data))
}

fn load_set(set: Set) -> Result<Dataset> {
    let (data, source) = taken(set)?;
    let content = agreed(set, &data)?;
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
fn agreed(set: Set, data: &Dataset) -> Result<String> {
    let content = data.content();
    let Some(expected) = set.content.filter(|expected| **expected != content) else {
        return Ok(content);
    };
    let (name, origin, [key, path]) = (&data.facts.name, &data.origin, set.keys);
    Err(Error::new(format!(
        "`{name}` in {origin} has the content {content}, but `{key}` is {expected}: the run is on other data"
    ))
    .help(format!("put the data of the run back, say where they are with `{path}`, or take these: {key}=null")))
}

/// The content of the data set of `pipeline`: as set in the pipeline, or else from its files;
/// `None` for one that has no files. With `keep` the data stay in memory until they are read.
///
/// # Errors
/// When it is not found, its files are damaged, or with `keep` its content differs from the
/// pipeline's.
pub(crate) fn content(pipeline: &Pipeline, keep: bool) -> Result<Option<String>> {
    content_of(Set::base(pipeline), keep)
}

/// As [`content`], of the set that is mixed in; `None` where there is none.
pub(crate) fn content_of_extra(pipeline: &Pipeline, keep: bool) -> Result<Option<String>> {
    Set::extra(pipeline).map_or(Ok(None), |set| content_of(set, keep))
}

fn content_of(set: Set, keep: bool) -> Result<Option<String>> {
    if !keep && let Some(content) = set.content {
        return Ok(Some(content.clone()));
    }
    let located = locate(set)?;
    if located.files.is_empty() {
        return Ok(None);
    }
    let source = source(set, located)?;
    let found = known(|known| known.contents.get(&source).cloned());
    if let Some(content) = found.filter(|content| set.content.is_none_or(|said| said == content)) {
        return Ok(Some(content));
    }
    let (data, source) = taken(set)?;
    let content = agreed(set, &data)?;
    known(|known| {
        known.contents.insert(source.clone(), content.clone());
        if keep {
            known.kept.push((source, data));
        }
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
fn taken(set: Set) -> Result<(Dataset, Source)> {
    let source = source(set, locate(set)?)?;
    let kept = known(|known| {
        let at = known.kept.iter().position(|(kept, _)| *kept == source);
        at.map(|at| known.kept.swap_remove(at))
    });
    let data = match kept {
        Some((_, data)) => data,
        None => {
            let built = set.data.build_within(set.folder)?;
            watched(set.data.name(), |progress| built.read(progress))?
        }
    };
    Ok((data, source))
}

fn settings(data: &Component<dyn DataSource>, folder: &Path) -> Result<Settings> {
    Ok((serde_yaml::to_string(data).map_err(Error::of)?, folder.to_path_buf()))
}

fn source(set: Set, located: Located) -> Result<Source> {
    let mut files = DefaultHasher::new();
    for path in &located.files {
        if let Ok(facts) = std::fs::metadata(path) {
            (path, facts.len(), facts.modified().ok()).hash(&mut files);
        }
    }
    Ok(Source { settings: settings(set.data, set.folder)?, place: located.place, files: files.finish() })
}

fn known<T>(look: impl FnOnce(&mut Known) -> T) -> T {
    look(&mut KNOWN.lock().unwrap_or_else(PoisonError::into_inner))
}
