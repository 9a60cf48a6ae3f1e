//! From a checkpoint to a run folder that `foil eval` accepts.

use super::checkpoint::{Checkpoint, Entry, StateDict};
use super::recognise::{Fit, Known, recognise};
use crate::engine::Normalize;
use crate::pipeline::{Pipeline, assemble, load, root_schema};
use crate::record::{ModelCard, Values, atomic, stamp};
use crate::registry::Registry;
use crate::train::Folder;
use crate::{AtPath, Error, Result};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// What is to be imported, and what is known of it.
#[derive(Debug, Default)]
pub struct Request {
    /// The checkpoint.
    pub file: PathBuf,
    /// Model, data set and names to leave out.
    pub known: Known,
    /// Which of the file's dictionaries it is.
    pub key: Option<String>,
    /// What stands in front of the network; by default what the file says.
    pub normalize: Option<Normalize>,
    /// A pipeline that the run folder shall hold, with its model and data.
    pub config: Option<PathBuf>,
    /// The run folder; by default `runs/` and the file's name.
    pub out: Option<PathBuf>,
}

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The run folder.
    pub folder: PathBuf,
    /// What was recognised and decided, one sentence each.
    pub notes: Vec<String>,
}

/// How a model card says where its weights come from.
pub(crate) const METHOD: &str = "imported";

/// Reads, recognises and writes.
///
/// # Errors
/// When the file is not read, nothing fits, the network seems to expect a normalisation that the file does not hold, or the
/// folder cannot be written. Then no folder is made.
pub fn import(request: &Request) -> Result<Imported> {
    let mut checkpoint = Checkpoint::open(&request.file)?;
    let file = request.file.display().to_string();
    let mut notes = Vec::new();
    let base = request.config.as_deref().map(|path| load(path, &[])).transpose()?.map(|loaded| loaded.pipeline);
    let known = match &base {
        Some(base) => Known {
            model: Some(base.model.clone()),
            data: Some(base.data.name.clone()),
            ignore: request.known.ignore.clone(),
        },
        None => Known {
            model: request.known.model.clone(),
            data: request.known.data.clone(),
            ignore: request.known.ignore.clone(),
        },
    };
    let dict = chosen(&checkpoint, request.key.as_deref(), &known).map_err(|e| e.context(&file))?;
    let others: Vec<&str> = checkpoint
        .dicts
        .iter()
        .map(|other| other.key.as_str())
        .filter(|key| *key != dict.key && !key.is_empty())
        .collect();
    if !others.is_empty() {
        let (taken, others) = (quoted(&dict.key), others[..others.len().min(8)].join(", "));
        notes.push(format!("of its sets of weights {taken} is taken; --key takes another: {others}"));
    }
    let fit = recognise(&dict.tensors, &known).map_err(|e| e.context(&file))?;
    refuse(&fit, &file)?;
    notes.extend(told(&fit));
    let normalize = normalize(request, base.as_ref(), &fit, &mut checkpoint, &mut notes)?;

    let name = request.file.file_stem().map_or("imported".into(), |stem| stem.to_string_lossy().into_owned());
    let pipeline = match base {
        Some(base) => Pipeline { normalize, ..base },
        None => standard(&name, &fit, &normalize)?,
    };
    let named = fit.tensors.iter().map(|(own, entry)| (own.clone(), *entry));
    let weights = checkpoint.tensors(named)?;
    let parts = assemble(&pipeline, Kind::Float, Device::Cpu, true)
        .map_err(|problems| Error::from(foil_config::Problems::from(problems)))?;
    let params = parts.step.model.network().params();
    params.load(&weights)?;
    let state = params.state_dict();
    if let Some((name, _)) = state.iter().find(|(_, t)| t.isfinite().all().int64_value(&[]) == 0) {
        tracing::warn!("`{name}` holds numbers that are not finite");
    }
    let folder = write(request, &name, &pipeline, &state)?;
    Ok(Imported { folder, notes })
}

/// The set of weights at `key`; without one that which its name tells, or which alone fits a model:
/// of several sets, or of several networks in one, told apart by how their names begin.
fn chosen(checkpoint: &Checkpoint, key: Option<&str>, known: &Known) -> Result<StateDict> {
    // So many are tried.
    const MOST: usize = 32;
    let fits = |dict: &StateDict| recognise(&dict.tensors, known).is_ok_and(|fit| fit.wrong.is_empty());
    let by_name = checkpoint.choose(key);
    let candidates: Vec<StateDict> = match &by_name {
        Ok(dict) if key.is_some() || fits(dict) => return by_name,
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
        "{file}: these weights are most like `{{ {model} }}` on {}, but do not fit: {} of its tensors are there{}",
        fit.data,
        fit.tensors.len(),
        shown.concat()
    );
    Err(Error::new(message)
        .help("--model names another model, --data another data set, --ignore PATTERN leaves tensors out, --key takes another set of weights or those whose names begin so"))
}

fn told(fit: &Fit) -> Vec<String> {
    let mut notes = Vec::new();
    if !fit.prefix.is_empty() {
        notes.push(format!("names begin with `{}`, which is taken off", fit.prefix));
    }
    let renamed = fit.tensors.iter().find(|(own, entry)| !entry.name.ends_with(own.as_str()));
    notes.extend(renamed.map(|(own, entry)| format!("names differ, as in `{}` for foil's `{own}`", entry.name)));
    notes.extend(fit.unused.iter().map(|unused| format!("left out: {unused}")));
    notes
}

/// What stands in front of the network: as asked for, or as the file or the pipeline says.
fn normalize(
    request: &Request,
    base: Option<&Pipeline>,
    fit: &Fit,
    checkpoint: &mut Checkpoint,
    notes: &mut Vec<String>,
) -> Result<Normalize> {
    if let Some(normalize) = &request.normalize {
        return Ok(normalize.clone());
    }
    if let Some((mean, std)) = fit.normalisation {
        let channels = foil_data::entry(&fit.data)?.image[0];
        let (mean, std) = (values(checkpoint, mean, channels)?, values(checkpoint, std, channels)?);
        let plain = mean.iter().all(|m| (-2.0..=2.0).contains(m)) && std.iter().all(|s| *s > 0.0 && *s <= 2.0);
        if !plain {
            return Err(Error::new(format!(
                "the file normalises with mean {mean:?} and deviation {std:?}, which are not in [0, 1] image units"
            ))
            .help("say how it is meant: --normalize '{ mean: [0.49, 0.48, 0.45], std: [0.25, 0.24, 0.26] }'"));
        }
        notes.push(format!("the file's normalisation is kept: mean {mean:?}, deviation {std:?}"));
        return Ok(Normalize::given(mean, std));
    }
    if let Some(base) = base {
        return Ok(base.normalize.clone());
    }
    if fit.prefix.split('.').any(|part| part == "1") {
        return Err(Error::new(format!(
            "the network is the second of a Sequential (its names begin with `{}`), but what comes first, most likely a \
             normalisation, has no numbers in the file",
            fit.prefix
        ))
        .help("look in its code, and say --normalize data, --normalize none or --normalize '{ mean: […], std: […] }'"));
    }
    notes.push(
        "the file says nothing of a normalisation, so images go in as they are; robust_overfitting and CAT normalise \
         in their code: --normalize data"
            .into(),
    );
    Ok(Normalize::NONE)
}

/// An entry's numbers, one for each channel.
fn values(checkpoint: &mut Checkpoint, entry: &Entry, channels: usize) -> Result<Vec<f64>> {
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

/// The pipeline of a model that came without one: no training to speak of, and the usual attacks of its data set.
fn standard(name: &str, fit: &Fit, normalize: &Normalize) -> Result<Pipeline> {
    const COLOUR: &str = "
attacks:
  fgsm: { type: fgsm, eps: 8/255 }
  pgd20: { type: pgd, eps: 8/255, alpha: 2/255, steps: 20, start: uniform }
  cw: { type: pgd, objective: { type: cw, kappa: 50 }, eps: 8/255, alpha: 2/255, steps: 20, start: uniform }
";
    const GREY: &str = "
attacks:
  fgsm: { type: fgsm, eps: 0.3 }
  pgd20: { type: pgd, eps: 0.3, alpha: 0.03, steps: 20, start: uniform }
  cw: { type: pgd, objective: { type: cw, kappa: 50 }, eps: 0.3, alpha: 0.03, steps: 20, start: uniform }
";
    const REST: &str = "
attack: none
loss: at
optimizer: { type: sgd, lr: 0.01, momentum: 0.9 }
train: { epochs: 1 }
evaluate: [natural, fgsm, pgd20, cw]
";
    let grey = foil_data::entry(&fit.data)?.image[0] == 1;
    let text = |value: &dyn erased_serde::Serialize| {
        serde_json::to_string(value).map_err(|e| Error::new(format!("the pipeline cannot be written: {e}")))
    };
    let yaml = format!(
        "name: {}\ndata: {{ name: {} }}\nmodel: {}\nnormalize: {}{REST}{}",
        text(&name)?,
        fit.data,
        text(&fit.model)?,
        text(normalize)?,
        if grey { GREY } else { COLOUR }
    );
    let checked = foil_config::load_str("the imported model's pipeline", yaml, &[], &root_schema(), &Registry)?;
    serde_yaml::from_value(checked.value).at("reading", Path::new("the imported model's pipeline"))
}

fn write(request: &Request, name: &str, pipeline: &Pipeline, state: &[(String, Tensor)]) -> Result<PathBuf> {
    let sha256 = stamp::file_hash(&request.file).at("reading", &request.file)?;
    let data = foil_data::entry(&pipeline.data.name)?;
    let (mean, std) = pipeline.normalize.affine(data.mean, data.std).unwrap_or_default();
    let resolved = pipeline.to_yaml()?;
    let card = ModelCard {
        name: pipeline.name.clone().unwrap_or_else(|| name.into()),
        architecture: pipeline.model.name().into(),
        dataset: pipeline.data.name.clone(),
        classes: data.class_names.iter().map(ToString::to_string).collect(),
        mean,
        std,
        threat: pipeline.judged_threat(),
        method: format!("{METHOD} from {} (SHA-256 {sha256})", request.file.display()),
        seed: pipeline.seed,
        epochs: 0,
        ranks: 1,
        metrics: Values::default(),
        foil_version: crate::VERSION.into(),
        libtorch_version: crate::LIBTORCH.into(),
        config_hash: stamp::config_hash(&resolved),
        created: stamp::now(),
        command: format!("foil import {}", request.file.display()),
    };
    let path = request.out.clone().unwrap_or_else(|| Path::new("runs").join(name));
    let (folder, _lock) = Folder::create(&path)?;
    folder.write_model(&folder.best(), state, &card)?;
    atomic::write(folder.resolved(), resolved).at("writing", &folder.resolved())?;
    Ok(path)
}
