//! From a checkpoint to a run folder that `foil eval` accepts.

use super::checkpoint::{Checkpoint, StateDict, StoredTensor};
use super::described::Described;
use super::names::Names;
use super::program;
use super::recognise::{Fit, Known, recognise};
use super::standard::standard;
use crate::pipeline::{Assembled, Pipeline, assemble, load};
use crate::record::{ModelCard, Values, stamp};
use crate::train::Folder;
use foil::atomic;
use foil::engine::Normalize;
use foil::model::Hint;
use foil::{AtPath, Error, Result, tensors};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// What to import, and what is known about it.
#[derive(Debug, Default)]
pub struct Request {
    /// The checkpoint.
    pub file: PathBuf,
    /// Model, data set and names to leave out.
    pub known: Known,
    /// Which of the file's dictionaries to import.
    pub key: Option<String>,
    /// The normalisation before the network; by default what the file says.
    pub normalize: Option<Normalize>,
    /// A pipeline for the run folder, with its model and data.
    pub config: Option<PathBuf>,
    /// The run folder; by default `runs/` and the file's name.
    pub out: Option<PathBuf>,
}

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The run folder.
    pub folder: PathBuf,
    /// Notes on what was recognised and decided, one sentence each.
    pub notes: Vec<String>,
}

/// The prefix in a model card's method that marks imported weights.
pub const METHOD: &str = "imported";

/// Reads, recognises and writes. A model card of foil in the file is used unless the request
/// overrides it; a TorchScript program is its own model.
///
/// # Errors
/// When the file cannot be read, no model fits, the network seems to expect a normalisation that
/// the file does not hold, or the folder cannot be written. In that case no folder is made.
pub fn import(request: &Request) -> Result<Imported> {
    if program::is_one(&request.file) {
        return program::import(request);
    }
    let mut checkpoint = Checkpoint::open(&request.file)?;
    let file = request.file.display().to_string();
    let base = request.config.as_deref().map(|path| load(path, &[])).transpose()?.map(|loaded| loaded.pipeline);
    let known = asked(request, base.as_ref());
    let dict = chosen(&checkpoint, request.key.as_deref(), &known).map_err(|e| e.context(&file))?;
    let mut notes: Vec<String> = unused(&checkpoint, &dict).into_iter().collect();
    let described = described(request, base.as_ref(), &dict)?;
    notes.extend(described.note());
    let known = Known {
        model: known.model.or_else(|| described.model.clone()),
        data: known.data.or_else(|| described.data.clone()),
        ..known
    };
    let fit = recognise(&dict.tensors, &known).map_err(|e| e.context(&file))?;
    refuse(&fit, &file)?;
    notes.extend(differences(&fit));
    let given = request.normalize.clone().or_else(|| described.normalize.clone());
    let normalize = normalize(given, base.as_ref(), &fit, &mut checkpoint, &mut notes)?;

    let name = request.file.file_stem().map_or("imported".into(), |stem| stem.to_string_lossy().into_owned());
    let pipeline = match base {
        // The weights are in the folder, so there is no `init`.
        Some(base) => Pipeline { normalize, init: None, ..base },
        None => standard(&name, &fit.model, &fit.data, &normalize, described.threat)?,
    };
    let parts = filled(&pipeline, &fit, &mut checkpoint)?;
    let folder = write(request, &name, &pipeline, &parts, Some(&Names::of(&fit)))?;
    Ok(Imported { folder, notes })
}

/// What the request says of the network: by its pipeline if it names one.
fn asked(request: &Request, base: Option<&Pipeline>) -> Known {
    match base {
        Some(base) => Known {
            model: Some(base.model.clone()),
            data: Some(base.data.clone()),
            ignore: request.known.ignore.clone(),
            folder: base.folder.clone(),
        },
        None => Known { folder: PathBuf::new(), ..request.known.clone() },
    }
}

/// The note on the sets of weights that are not imported, if there are any.
fn unused(checkpoint: &Checkpoint, used: &StateDict) -> Option<String> {
    const SHOWN: usize = 8;
    let keys = checkpoint.dicts.iter().map(|dict| dict.key.as_str());
    let others: Vec<&str> = keys.filter(|key| *key != used.key && !key.is_empty()).take(SHOWN).collect();
    (!others.is_empty()).then(|| {
        let (used, others) = (quoted(&used.key), others.join(", "));
        format!("it holds several sets of weights, and {used} is used; --key selects another: {others}")
    })
}

/// What the file says about its network, without what the request says: that takes precedence, and
/// a pipeline says everything.
fn described(request: &Request, base: Option<&Pipeline>, dict: &StateDict) -> Result<Described> {
    let mut described = Described::of(&dict.texts);
    if described.names_files && base.is_none() && request.known.model.is_none() {
        let file = request.file.display();
        return Err(Error::new(format!("{file} holds weights of a network whose program is a separate file"))
            .help("--config names a pipeline with that file, such as the run's resolved.yaml"));
    }
    if base.is_some() || request.known.model.is_some() {
        described.model = None;
    }
    if base.is_some() || request.known.data.is_some() {
        described.data = None;
    }
    if base.is_some() || request.normalize.is_some() {
        described.normalize = None;
    }
    if base.is_some() {
        described.threat = None;
    }
    Ok(described)
}

/// The pipeline's parts, with the file's weights in the model.
fn filled(pipeline: &Pipeline, fit: &Fit, checkpoint: &mut Checkpoint) -> Result<Assembled> {
    let weights = checkpoint.tensors(fit.tensors.iter().map(|(own, stored)| (own.clone(), *stored)))?;
    let parts = assemble(pipeline, Kind::Float, Device::Cpu, true)
        .map_err(|problems| Error::from(foil_config::Problems::from(problems)))?;
    let params = parts.step.model.network().params();
    params.load(&weights)?;
    let state = params.state_dict();
    if let Some((name, _)) = state.iter().find(|(_, t)| t.isfinite().all().int64_value(&[]) == 0) {
        tracing::warn!("`{name}` holds numbers that are not finite");
    }
    Ok(parts)
}

/// The set of weights at `key`. Without a key, the one whose name says so, or the only one that
/// fits a model, among several sets or several networks in one set (distinguished by the prefixes
/// of their names).
fn chosen(checkpoint: &Checkpoint, key: Option<&str>, known: &Known) -> Result<StateDict> {
    // How many candidates are tried.
    const MOST: usize = 32;
    let fits = |dict: &StateDict| recognise(&dict.tensors, known).is_ok_and(|fit| fit.wrong.is_empty());
    let by_name = checkpoint.choose(key);
    let candidates: Vec<StateDict> = match &by_name {
        // A file that foil wrote holds one network, and says which.
        Ok(dict) if key.is_some() || !dict.texts.is_empty() || fits(dict) => return by_name,
        Ok(dict) => {
            let within = dict.beginnings().into_iter().filter_map(|start| dict.beginning(&start));
            let others = checkpoint.dicts.iter().filter(|other| other.key != dict.key).cloned();
            within.chain(others).take(MOST).collect()
        }
        Err(_) if key.is_some() => return by_name,
        Err(_) => checkpoint.dicts.iter().take(MOST).cloned().collect(),
    };
    let mut fitting: Vec<StateDict> = candidates.into_iter().filter(fits).collect();
    match fitting.len() {
        0 => by_name,
        1 => Ok(fitting.remove(0)),
        _ => {
            let keys: Vec<&str> = fitting.iter().map(|dict| dict.key.as_str()).collect();
            Err(Error::new(format!("several of its sets of weights fit a model: {}", keys.join(", ")))
                .help("say which: --key NAME"))
        }
    }
}

fn quoted(key: &str) -> String {
    if key.is_empty() { "the top level".into() } else { format!("`{key}`") }
}

fn refuse(fit: &Fit, file: &str) -> Result<()> {
    const SHOWN: usize = 12;
    if fit.wrong.is_empty() {
        return Ok(());
    }
    let mut shown: Vec<String> = fit.wrong.iter().take(SHOWN).map(|line| format!("\n  {line}")).collect();
    if fit.wrong.len() > SHOWN {
        shown.push(format!("\n  and {} more", fit.wrong.len() - SHOWN));
    }
    let model = serde_yaml::to_string(&fit.model).unwrap_or_default();
    let model = model.trim().replace('\n', ", ");
    let message = format!(
        "{file}: these weights are closest to `{{ {model} }}` on {}, but do not fit: {} of its tensors are present{}",
        fit.data.name(),
        fit.tensors.len(),
        shown.concat()
    );
    Err(Error::new(message)
        .help("--model names another model, --data another data set, --ignore PATTERN leaves tensors out, --key another set of weights or a prefix of their names"))
}

/// How the file's tensors differ from the model's, and which are left out.
fn differences(fit: &Fit) -> Vec<String> {
    let mut notes = Vec::new();
    if !fit.prefix.is_empty() {
        notes.push(format!("names begin with `{}`, which is removed", fit.prefix));
    }
    let renamed = fit.tensors.iter().find(|(own, entry)| !entry.name.ends_with(own.as_str()));
    notes.extend(renamed.map(|(own, entry)| format!("names differ, as in `{}` for foil's `{own}`", entry.name)));
    notes.extend(fit.unused.iter().map(|unused| format!("left out: {unused}")));
    notes
}

/// The normalisation before the network: from the request, the file or the pipeline.
fn normalize(
    given: Option<Normalize>,
    base: Option<&Pipeline>,
    fit: &Fit,
    checkpoint: &mut Checkpoint,
    notes: &mut Vec<String>,
) -> Result<Normalize> {
    if let Some(normalize) = given {
        return Ok(normalize);
    }
    if let Some((mean, std)) = fit.normalisation {
        let (mean, std) = (values(checkpoint, mean, fit.channels)?, values(checkpoint, std, fit.channels)?);
        let plain = mean.iter().all(|m| (-2.0..=2.0).contains(m)) && std.iter().all(|s| *s > 0.0 && *s <= 2.0);
        if !plain {
            return Err(Error::new(format!(
                "the file normalises with mean {mean:?} and deviation {std:?}, which are not in [0, 1] image units"
            ))
            .help("give the normalisation in image units: --normalize '{ mean: [0.49, 0.48, 0.45], std: [0.25, 0.24, 0.26] }'"));
        }
        notes.push(format!("the file's normalisation is kept: mean {mean:?}, deviation {std:?}"));
        return Ok(Normalize::given(mean, std));
    }
    if let Some(base) = base {
        return Ok(base.normalize.clone());
    }
    let is_second = fit.prefix.split('.').any(|part| part == "1");
    if let (true, Some(normalize)) = (is_second, fit.normalize) {
        notes.push(format!(
            "the names are those of a code base that normalises with `normalize: {normalize}`; --normalize overrides it"
        ));
        return serde_yaml::from_str(normalize).map_err(|e| Error::new(format!("{normalize}: {e}")));
    }
    if is_second {
        return Err(Error::new(format!(
            "the network is the second of a Sequential (its names begin with `{}`), but what comes first, most likely a \
             normalisation, has no numbers in the file",
            fit.prefix
        ))
        .help("look in its code, and give --normalize none, --normalize per_image or --normalize '{ mean: […], std: […] }'"));
    }
    let inside = Hint::all().filter(|hint| hint.model == fit.model.name()).flat_map(|hint| hint.inside);
    if let Some((_, normalize)) = inside.into_iter().find(|(data, _)| *data == fit.data.name()) {
        notes.push(format!("the published network normalises: {normalize}; --normalize overrides it"));
        return serde_yaml::from_str(normalize).map_err(|e| Error::new(format!("{normalize}: {e}")));
    }
    let theirs = match fit.data.name() {
        "cifar10" => Some("{ mean: [0.4914, 0.4822, 0.4465], std: [0.2471, 0.2435, 0.2616] }"),
        "cifar100" => Some("{ mean: [0.507075, 0.486549, 0.440918], std: [0.267334, 0.256438, 0.276151] }"),
        _ => None,
    };
    let theirs =
        theirs.map(|theirs| format!("; robust_overfitting and CAT normalise in their code: --normalize '{theirs}'"));
    notes.push(format!(
        "the file says nothing about normalisation, so images go in unchanged{}",
        theirs.unwrap_or_default()
    ));
    Ok(Normalize::NONE)
}

/// An entry's values, one for each channel.
fn values(checkpoint: &mut Checkpoint, entry: &StoredTensor, channels: usize) -> Result<Vec<f64>> {
    let tensor = checkpoint.tensor(entry)?.to_kind(Kind::Double).reshape([-1]);
    // Single precision's 0.4914 is written as 0.4914, not as 0.49140000343.
    let short = |value: f64| {
        if entry.kind == Kind::Float { (value as f32).to_string().parse().unwrap_or(value) } else { value }
    };
    let values: Vec<f64> = Vec::<f64>::try_from(tensor)?.into_iter().map(short).collect();
    Ok(match values.as_slice() {
        [one] => vec![*one; channels],
        _ => values,
    })
}

/// Makes the run folder: the files that the pipeline names, its weights with a card and the `names`
/// that they came with, and itself.
pub(super) fn write(
    request: &Request,
    name: &str,
    pipeline: &Pipeline,
    parts: &Assembled,
    names: Option<&Names>,
) -> Result<PathBuf> {
    let sha256 = foil::hash::file_hash(&request.file).at("reading", &request.file)?;
    let data = crate::data::facts(pipeline)?;
    let (mean, std) = pipeline.normalize.affine(&data.mean, &data.std).unwrap_or_default();
    let path = request.out.clone().unwrap_or_else(|| Path::new("runs").join(name));
    let (folder, _lock) = Folder::create(&path)?;
    let pipeline = pipeline.carried_into(folder.path())?;
    pipeline.lock_libraries(folder.path())?;
    let resolved = pipeline.to_yaml()?;
    let card = ModelCard {
        name: pipeline.name.clone().unwrap_or_else(|| name.into()),
        architecture: pipeline.model.name().into(),
        model: serde_json::to_value(&pipeline.model).at("writing", folder.path())?,
        normalize: serde_json::to_value(&pipeline.normalize).at("writing", folder.path())?,
        dataset: data.name,
        classes: data.class_names,
        mean,
        std,
        threat: parts.eval_threat(),
        method: format!("{METHOD} from {} (SHA-256 {sha256})", request.file.display()),
        seed: pipeline.seed,
        epochs: 0,
        ranks: 1,
        metrics: Values::default(),
        foil_version: foil::VERSION.into(),
        libtorch_version: foil::LIBTORCH.into(),
        config_hash: stamp::config_hash(&resolved),
        created: stamp::now(),
        command: format!("foil import {}", request.file.display()),
    };
    let mut texts = card.to_metadata().at("writing", &folder.best())?;
    names.into_iter().for_each(|names| names.put(&mut texts));
    tensors::write(&folder.best(), &parts.step.model.network().params().state_dict(), texts)?;
    atomic::write(folder.resolved(), resolved).at("writing", &folder.resolved())?;
    Ok(path)
}
