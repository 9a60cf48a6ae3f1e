//! More images than the base set's: the keys of `extra`, and whether they fit.

use super::Pipeline;
use super::assemble::context;
use super::facts::{facts, unusable};
use crate::record::card::said;
use foil::attack::Attack;
use foil::data::{DataSource, Facts, Mixture};
use foil::engine::{EvalPrecision, Network, Normalize, Precision};
use foil::loss::Loss;
use foil::model::Model;
use foil::registry::{Build, Component, FilePath};
use foil::{Error, Result, settings, tensors};
use foil_config::Problem;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Images of another set that are mixed into each batch: generated ones, or unlabelled ones that a
/// network labels.
///
/// An epoch has as many steps as without them. Each batch has its share of them, drawn with
/// replacement, and images of the base set in the epoch's order (Gowal et al. 2021; Wang et al.
/// 2023). They stay in the memory of the host, and the next batch's are collected while a step
/// runs.
#[settings]
pub struct ExtraConfig {
    /// The set they come from: its training images. Their shape and classes must be the base
    /// set's.
    pub data: Component<dyn DataSource>,
    /// The share of each batch that is drawn from them, rounded down: 0.7 of 512 images is 358.
    #[set(above = 0.0, below = 1.0)]
    pub share: f64,
    /// Use only this many of them, the first ones.
    #[set(default, range = 1..)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The run that labels them, such as `runs/natural`, or a checkpoint: each image gets the class
    /// that the network finds most likely. Without it they have labels of their own. `foil train`
    /// copies the checkpoint into the run's folder, and keeps the labels there.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<FilePath>,
    /// The content of the set's files, as `images.content` is the base set's. `foil train` fills it
    /// in.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The SHA-256 of the labels that the network gave. `foil train` fills it in.
    #[set(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels_content: Option<String>,
}

impl Pipeline {
    /// The checkpoint that labels the extra images.
    pub fn labeller(&self) -> Option<PathBuf> {
        Some(checkpoint(self.extra.as_ref()?.labels.as_ref()?.within(&self.folder)))
    }

    /// How a run on `base` images mixes in `extra` ones; `None` if it does not.
    ///
    /// # Errors
    /// When a batch would have no image of one of the sets.
    pub fn mixture(&self, base: u64, extra: u64) -> Result<Option<Mixture>, Problem> {
        let Some(ExtraConfig { share, .. }) = &self.extra else { return Ok(None) };
        let size = self.train.batch_size;
        let [base, extra, whole] = [base, extra, size].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        Mixture::new(base, extra, whole, *share).map(Some).ok_or_else(|| {
            let drawn = (size as f64 * share) as u64;
            let message = format!("`extra.share` is {share}: of a batch of {size} images {drawn} would be extra ones");
            Problem::new(
                "extra.share",
                message,
                "a batch needs some of both sets: choose another share or `batch_size`",
            )
        })
    }
}

/// A run's folder means its best checkpoint.
pub(super) fn checkpoint(path: PathBuf) -> PathBuf {
    if path.is_dir() { path.join("best.safetensors") } else { path }
}

/// Whether the extra images of `pipeline`, if it has any, fit it, its `attack` and its `loss`.
///
/// # Errors
/// All problems, by key path.
pub(crate) fn mixes(pipeline: &Pipeline, attack: &dyn Attack, loss: &dyn Loss) -> Result<(), Vec<Problem>> {
    let problems = RefCell::default();
    let data = facts(pipeline).map_err(|problem| vec![problem])?;
    check(&context(pipeline, data, Kind::Float, Device::Cpu, &problems), pipeline, Some(attack), Some(loss));
    let problems = problems.into_inner();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Reports what does not fit: the extra images to those of the base set, or to what is kept of
/// each image.
pub(super) fn check(cx: &Build, pipeline: &Pipeline, attack: Option<&dyn Attack>, loss: Option<&dyn Loss>) {
    let Some(extra) = &pipeline.extra else { return };
    let cx = cx.at("extra");
    let name = extra.data.name();
    let base = crate::data::facts(pipeline);
    match crate::data::facts_of(&extra.data, &pipeline.folder) {
        Err(error) => {
            let help = error.suggestion().unwrap_or_default().to_string();
            cx.problem("data", format!("cannot be used: {}", error.message()), help);
        }
        Ok(found) => {
            if let Some((message, help)) = base.as_ref().ok().and_then(|base| misfit(&found, base, extra)) {
                cx.problem("data", format!("is `{name}`, {message}"), help);
            }
            let images = facts(pipeline).map_or(0, |base| base.train as u64).saturating_sub(pipeline.images.validation);
            let count = extra.limit.unwrap_or(u64::MAX).min(found.counts.train as u64);
            if let Err(problem) = pipeline.mixture(images.max(1), count.max(1)) {
                cx.problem(
                    "share",
                    problem.message.trim_start_matches("`extra.share` "),
                    problem.help.unwrap_or_default(),
                );
            }
        }
    }
    let of_attack = attack.and_then(|attack| attack.learning()).map_or_else(Vec::new, |learning| learning.per_image());
    let of_loss = loss.map_or_else(Vec::new, |loss| loss.per_image());
    for (part, name, keeps) in [("attack", pipeline.attack.name(), of_attack), ("loss", pipeline.loss.name(), of_loss)]
    {
        if let Some(kept) = keeps.first() {
            let message = format!("draws its images at random, but the {part} `{name}` keeps `{kept}` for each image");
            cx.problem("", message, format!("choose another {part}, or leave `extra` out"));
        }
    }
    if let (Some(path), Ok(base)) = (pipeline.labeller(), base)
        && let Err(error) = Labeller::of(&path).and_then(|labeller| labeller.fits(&base))
    {
        let help = error.suggestion().unwrap_or("name a run on this data set, such as runs/natural").to_string();
        cx.problem("labels", format!("cannot be used: {}", error.message()), help);
    }
}

/// Why the images of `extra` cannot be mixed with those of `base`, and what to do.
fn misfit(extra: &Facts, base: &Facts, config: &ExtraConfig) -> Option<(String, String)> {
    let shape = |of: &Facts| of.image.map(|n| n.to_string()).join(" x ");
    if extra.counts.train == 0 {
        return Some(("which has no training images".into(), "name a set that has some".into()));
    }
    if extra.image != base.image {
        let message = format!("whose images are {}, those of `{}` are {}", shape(extra), base.name, shape(base));
        return Some((message, "resize them, or choose a set of the same shape".into()));
    }
    let (found, expected) = (extra.classes(), base.classes());
    match (found, &config.labels) {
        // The network's classes count, not the set's own.
        (_, Some(_)) => None,
        (0, None) => {
            let help = "say which run labels them: `labels: runs/natural`";
            Some(("which has no labels".into(), help.into()))
        }
        // Numbers do not name classes; they only have to be those of the base set.
        _ if extra.class_names.iter().enumerate().all(|(n, name)| *name == n.to_string()) => {
            let help = format!("labels are 0 to {} here", expected.saturating_sub(1));
            (found > expected).then(|| (format!("which has {found} classes, `{}` has {expected}", base.name), help))
        }
        _ if extra.class_names != base.class_names => {
            let other = extra.class_names.iter().zip(&base.class_names).position(|(a, b)| a != b);
            let at = other.unwrap_or(found.min(expected));
            let said = |names: &[String]| names.get(at).map_or("none".into(), |name| format!("`{name}`"));
            let [own, named] = [&extra.class_names, &base.class_names].map(|names| said(names));
            let message = format!("whose class {at} is {own}, that of `{}` is {named}", base.name);
            Some((
                message,
                "a label must mean the same in both: give the classes the same names in the same order".into(),
            ))
        }
        _ => None,
    }
}

/// A network that labels images, as its checkpoint describes it.
struct Labeller {
    path: PathBuf,
    model: Component<dyn Model>,
    normalize: Normalize,
    moments: [Vec<f64>; 2],
    classes: Vec<String>,
}

impl Labeller {
    fn of(path: &Path) -> Result<Self> {
        let texts = tensors::metadata(path)?;
        let lacks = || {
            Error::new(format!("{} does not say which network it is of", path.display()))
                .help("name a checkpoint that foil wrote; `foil import` makes one of PyTorch's")
        };
        Ok(Self {
            path: path.to_path_buf(),
            model: said(&texts, "model").ok_or_else(lacks)?,
            normalize: said(&texts, "normalize").ok_or_else(lacks)?,
            moments: ["mean", "std"].map(|field| said(&texts, field).unwrap_or_default()),
            classes: said(&texts, "classes").ok_or_else(lacks)?,
        })
    }

    fn fits(&self, base: &Facts) -> Result<()> {
        if self.classes == base.class_names {
            return Ok(());
        }
        let (path, name) = (self.path.display(), &base.name);
        Err(Error::new(format!("{path} is of a network for other classes than those of `{name}`")))
    }
}

/// The network in `checkpoint`, which labels images of the pipeline's shape.
///
/// # Errors
/// When the checkpoint cannot be read, or is of a network for other images or classes.
pub(crate) fn labelling_network(pipeline: &Pipeline, path: &Path, device: Device) -> Result<Network> {
    let labeller = Labeller::of(path)?;
    labeller.fits(&crate::data::facts(pipeline)?)?;
    let data = facts(pipeline).map_err(|problem| Error::new(problem.message))?;
    let problems = RefCell::default();
    let cx = context(pipeline, data, Kind::Float, device, &problems).computing(Precision::Fp32, EvalPrecision::Fp32);
    let network = cx.network("extra.labels", &labeller.model, data.channels);
    let Some(network) = network.filter(|_| !cx.has_problems()) else {
        let problem = problems.into_inner().into_iter().next();
        let problem = problem.unwrap_or_else(|| unusable(&Error::new("its network cannot be built")));
        return Err(Error::new(problem.message).help(problem.help.unwrap_or_default()));
    };
    let [mean, std] = &labeller.moments;
    let network = network.normalized(&labeller.normalize, mean, std);
    network.read(path)?;
    Ok(network)
}
