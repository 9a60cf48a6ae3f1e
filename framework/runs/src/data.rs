//! The content of a data set, by which a run is tied to the data it was trained on, wherever they
//! are.

use crate::pipeline::Pipeline;
use foil::{Error, Result};
use foil_data::{Dataset, Layout};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

/// A copy of a data set: its name, its folder, and the lengths and times of the files there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    name: String,
    place: String,
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

/// The data that this process has read.
#[derive(Default)]
struct Known {
    contents: HashMap<Source, String>,
    /// Read only for its content, but needed again soon.
    kept: Option<(Source, Dataset)>,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// Checks that the data set of a pipeline is on this machine, without reading it.
///
/// # Errors
/// When it is not, with the places searched and what to do.
pub fn find(pipeline: &Pipeline) -> Result<()> {
    foil_data::find(&pipeline.data.name, pipeline.data.path.as_deref().map(Path::new))?;
    Ok(())
}

/// Reads the data set of `pipeline`; notes about it go to the log.
///
/// # Errors
/// When it is not found, its files are damaged, or its content differs from the pipeline's
/// `data.content`.
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
    let Some(expected) = pipeline.data.content.as_ref().filter(|expected| **expected != content) else {
        return Ok(content);
    };
    let (name, origin) = (&pipeline.data.name, &data.origin);
    Err(Error::new(format!(
        "`{name}` in {origin} has the content {content}, but `data.content` is {expected}: the run is on other data"
    ))
    .help("put the data of the run back, say where they are with `data.path`, or take these: data.content=null"))
}

/// The content of the data set of `pipeline`: as set in the pipeline, or else from its files;
/// `None` for one that comes with foil. With `keep` the data stay in memory until they are read.
///
/// # Errors
/// When it is not found, its files are damaged, or with `keep` its content differs from the
/// pipeline's.
pub(crate) fn content(pipeline: &Pipeline, keep: bool) -> Result<Option<String>> {
    if foil_data::entry(&pipeline.data.name)?.is_built_in() {
        return Ok(None);
    }
    let said = pipeline.data.content.as_ref();
    if !keep && let Some(content) = said {
        return Ok(Some(content.clone()));
    }
    let source = source(pipeline)?;
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

/// The data, kept or read now.
fn taken(pipeline: &Pipeline) -> Result<(Dataset, Source)> {
    let source = source(pipeline)?;
    let kept = known(|known| known.kept.take_if(|(kept, _)| *kept == source));
    let data = match kept {
        Some((_, data)) => data,
        None => foil_data::load(&pipeline.data.name, pipeline.data.path.as_deref().map(Path::new))?,
    };
    Ok((data, source))
}

fn source(pipeline: &Pipeline) -> Result<Source> {
    let layout = foil_data::find(&pipeline.data.name, pipeline.data.path.as_deref().map(Path::new))?;
    let mut files: Vec<PathBuf> = match &layout {
        Layout::Files(folder) | Layout::Strips(folder) => {
            folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        }
        Layout::Archive(path) => vec![path.clone()],
        Layout::BuiltIn => Vec::new(),
    };
    files.sort();
    let facts = |path: PathBuf| {
        let facts = std::fs::metadata(&path).ok()?;
        Some((path, facts.len(), facts.modified().ok()))
    };
    let files = files.into_iter().filter_map(facts).collect();
    Ok(Source { name: pipeline.data.name.clone(), place: layout.to_string(), files })
}

fn known<T>(look: impl FnOnce(&mut Known) -> T) -> T {
    look(&mut KNOWN.lock().unwrap_or_else(PoisonError::into_inner))
}
