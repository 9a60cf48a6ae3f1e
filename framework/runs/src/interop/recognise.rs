//! Which model a set of weights belongs to: the names and shapes of every registered model are
//! compared with it.

use super::checkpoint::StoredTensor;
use foil::data::{DataSource, Facts};
use foil::model::{Hint, Model, Shapes};
use foil::registry::{Build, Component, DataFacts, Kind as _, plugins};
use foil::{Error, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Parts of names that code bases name differently: ours, theirs.
const RENAMED: [(&str, &str); 3] = [("shortcut", "downsample"), ("linear", "fc"), ("fc", "linear")];
const MEANS: [&str; 5] = ["mean", "mu", "new_mean", "_mean", "means"];
const STDS: [&str; 6] = ["std", "sigma", "new_std", "_std", "stds", "sd"];
/// The data sets whose shapes are tried, in this order.
const DATA: [&str; 3] = ["cifar10", "cifar100", "mnist"];

/// Those of them that are registered.
pub(super) fn usual_data() -> Vec<Component<dyn DataSource>> {
    DATA.iter().filter_map(|name| Component::named(name).ok()).collect()
}

/// A set of weights as a model reads it.
#[derive(Debug)]
pub struct Fit<'a> {
    /// The model with its settings.
    pub model: Component<dyn Model>,
    /// The data set whose images and classes it fits.
    pub data: Component<dyn DataSource>,
    /// Channels of those images.
    pub channels: usize,
    /// The prefix of all of its names in the file, such as `module.`.
    pub prefix: String,
    /// The model's tensors: its own name, and the entry of the file.
    pub tensors: Vec<(String, &'a StoredTensor)>,
    /// The file's mean and standard deviation, if it has them.
    pub normalisation: Option<(&'a StoredTensor, &'a StoredTensor)>,
    /// The normalisation of the code base, if a [`Hint`] recognises its names.
    pub normalize: Option<&'static str>,
    /// Other tensors of the file that are not read, in words.
    pub unused: Vec<String>,
    /// All mismatches.
    pub wrong: Vec<String>,
    missing: Vec<(String, Vec<i64>)>,
    left: Vec<&'a StoredTensor>,
    score: i64,
}

impl Fit<'_> {
    /// Describes missing and unknown tensors. This is slow, so it is done only for the best fit.
    fn described(mut self) -> Self {
        // More names than this are not compared with each other.
        const COMPARED: usize = 500;
        let names: Vec<&str> = self.left.iter().take(COMPARED).map(|t| t.name.as_str()).collect();
        let missing = self.missing.iter().enumerate().map(|(n, (name, shape))| {
            // Suggests one of the same shape or with a similar name.
            let last = |name: &str| name.rsplit('.').next().map(String::from);
            let alike = || self.left.iter().find(|t| t.shape == *shape && last(&t.name) == last(name));
            let alike = (n < COMPARED)
                .then(|| alike().map(|t| t.name.as_str()).or_else(|| foil_config::did_you_mean(name, &names)));
            let hint = alike.flatten().map(|other| format!("; is it the file's `{other}`?")).unwrap_or_default();
            format!("`{name}` {shape:?} is missing{hint}")
        });
        let unknown = self.left.iter().map(|t| format!("`{}` {:?} is unknown to the model", t.name, t.shape));
        let mut more: Vec<String> = missing.chain(unknown).collect();
        self.wrong.append(&mut more);
        self
    }
}

/// What the user gave.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The model.
    pub model: Option<Component<dyn Model>>,
    /// The data set.
    pub data: Option<Component<dyn DataSource>>,
    /// Names to leave out: prefixes, whole parts between dots, or patterns with `*` for any
    /// characters.
    pub ignore: Vec<String>,
    /// The folder that the model's file names are relative to.
    pub folder: PathBuf,
}

/// Finds the model, settings, data set and prefix that fit best.
///
/// # Errors
/// When no model has any of these names and shapes. Otherwise see [`Fit::wrong`].
pub fn recognise<'a>(tensors: &'a [StoredTensor], known: &Known) -> Result<Fit<'a>> {
    let tensors: Vec<&StoredTensor> =
        tensors.iter().filter(|t| !known.ignore.iter().any(|pattern| is_meant(pattern, &t.name))).collect();
    let data = known.data.clone().map_or_else(usual_data, |data| vec![data]);
    let facts: Vec<Facts> =
        data.iter().map(|data| crate::data::facts_of(data, &known.folder)).collect::<Result<_>>()?;
    let mut best: Option<Fit<'a>> = None;
    for prefix in prefixes(&tensors) {
        let named: BTreeMap<&str, &StoredTensor> =
            tensors.iter().filter_map(|t| Some((t.name.strip_prefix(prefix.as_str())?, *t))).collect();
        for model in candidates(&named, known) {
            for (data, facts) in data.iter().zip(&facts) {
                let Some(own) = layout(&model, facts, &known.folder) else { continue };
                let fit = fit(&model, (data, facts.image[0]), &prefix, &named, &tensors, &own);
                if best.as_ref().is_none_or(|best| fit.score > best.score) {
                    best = Some(fit);
                }
            }
        }
    }
    best.filter(|fit| !fit.tensors.is_empty()).map(Fit::described).ok_or_else(|| {
        Error::new("no model in foil has these names and shapes").help(
            "`foil import FILE --list` shows them; a model of another kind may come as TorchScript: docs/pytorch.md",
        )
    })
}

/// Prefixes that at least a third of the names share, the empty one first.
fn prefixes(tensors: &[&StoredTensor]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for tensor in tensors {
        for (at, _) in tensor.name.match_indices('.').take(4) {
            *counts.entry(&tensor.name[..=at]).or_default() += 1;
        }
    }
    let mut shared: Vec<String> =
        counts.into_iter().filter(|(_, n)| 3 * n >= tensors.len()).map(|(prefix, _)| prefix.to_string()).collect();
    shared.sort_by_key(String::len);
    shared.insert(0, String::new());
    shared
}

fn candidates(named: &BTreeMap<&str, &StoredTensor>, known: &Known) -> Vec<Component<dyn Model>> {
    if let Some(model) = &known.model {
        return vec![model.clone()];
    }
    let shapes: Shapes = named.iter().map(|(name, t)| ((*name).to_string(), t.shape.clone())).collect();
    let models = plugins().into_iter().filter(|entry| entry.kind() == <dyn Model>::NAME);
    models
        .flat_map(|entry| {
            let hints = Hint::all().filter(|hint| hint.model == entry.name());
            let hinted = hints.filter_map(|hint| serde_yaml::from_str(&(hint.settings)(&shapes)?).ok());
            hinted.chain(Component::named(entry.name()).ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// The model's names and shapes on the images of a data set; `None` if it cannot be built for them
/// or outputs masks.
fn layout(model: &Component<dyn Model>, data: &Facts, folder: &Path) -> Option<Shapes> {
    let facts = DataFacts::from(data);
    let problems = RefCell::default();
    let build = Build::new(facts, 0, Kind::Float, Device::Cpu, &problems).dry(true).within(folder);
    let network = build.network("model", model, facts.channels);
    let network = network.filter(|network| problems.borrow().is_empty() && !network.is_mask());
    network.map(|network| network.params().state_dict().into_iter().map(|(name, t)| (name, t.size())).collect())
}

/// A name's other spellings in published files.
fn spellings(name: &str) -> impl Iterator<Item = String> {
    let parts: Vec<&str> = name.split('.').collect();
    let renamed = move |(ours, theirs): (&str, &str)| {
        let other: Vec<&str> = parts.iter().map(|part| if *part == ours { theirs } else { part }).collect();
        (other != parts).then(|| other.join("."))
    };
    RENAMED.into_iter().filter_map(renamed)
}

/// A counter of batches or averaged models, which no forward pass reads.
fn is_counter(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| ["num_batches_tracked", "n_averaged"].contains(&last))
}

/// Whether `pattern` matches the tensor `name`; see [`Known::ignore`].
fn is_meant(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return name.starts_with(pattern) || name.split('.').any(|part| part == pattern);
    };
    let Some(mut left) = name.strip_prefix(start) else { return false };
    let pieces: Vec<&str> = rest.split('*').collect();
    let Some((end, between)) = pieces.split_last() else { return false };
    for piece in between {
        let Some(at) = left.find(piece) else { return false };
        left = &left[at + piece.len()..];
    }
    left.ends_with(end)
}

fn fit<'a>(
    model: &Component<dyn Model>,
    (data, channels): (&Component<dyn DataSource>, usize),
    prefix: &str,
    named: &BTreeMap<&str, &'a StoredTensor>,
    all: &[&'a StoredTensor],
    own: &Shapes,
) -> Fit<'a> {
    let (mut tensors, mut missing, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let mut used = HashSet::new();
    let mut normalize = None;
    for (name, shape) in own {
        let hinted = || {
            let hints = Hint::all().filter(|hint| hint.model == model.name());
            let found = hints.filter_map(|hint| Some((named.get(hint.name(name)?.as_str())?, hint))).next()?;
            normalize = normalize.or(found.1.normalize);
            Some(found.0)
        };
        let spelt = || spellings(name).find_map(|other| named.get(other.as_str()));
        let found = named.get(name.as_str()).or_else(spelt).or_else(hinted);
        match found {
            Some(entry) if entry.shape == *shape => {
                used.insert(entry.name.as_str());
                tensors.push((name.clone(), *entry));
            }
            Some(entry) => {
                used.insert(entry.name.as_str());
                wrong.push(format!("`{}` is {:?}, the model's is {shape:?}", entry.name, entry.shape));
            }
            None if is_counter(name) => {}
            None => missing.push((name.clone(), shape.clone())),
        }
    }
    let rest: Vec<&StoredTensor> =
        all.iter().copied().filter(|t| !used.contains(t.name.as_str()) && !is_counter(&t.name)).collect();
    let normalisation = normalisation(&rest, channels as i64);
    let (left, unused) = leftovers(model.name(), prefix, &rest, normalisation, &tensors);

    let faults = wrong.len() + missing.len() + left.len();
    let score = 4 * tensors.len() as i64 - 2 * missing.len() as i64 - faults as i64;
    let (data, prefix) = (data.clone(), prefix.to_string());
    Fit {
        model: model.clone(),
        data,
        channels,
        prefix,
        tensors,
        normalisation,
        normalize,
        unused,
        wrong,
        missing,
        left,
        score,
    }
}

/// The tensors that normalise before the network: one number, or one for each channel.
fn normalisation<'a>(rest: &[&'a StoredTensor], channels: i64) -> Option<(&'a StoredTensor, &'a StoredTensor)> {
    let called = |names: &[&str]| {
        rest.iter().copied().find(|t| {
            let numel = t.shape.iter().product::<i64>();
            (numel == channels || numel == 1) && t.name.rsplit('.').next().is_some_and(|last| names.contains(&last))
        })
    };
    Some((called(&MEANS)?, called(&STDS)?))
}

/// The tensors of `rest` that are unknown, and those that may be left out, in words.
fn leftovers<'a>(
    model: &str,
    prefix: &str,
    rest: &[&'a StoredTensor],
    normalisation: Option<(&StoredTensor, &StoredTensor)>,
    tensors: &[(String, &StoredTensor)],
) -> (Vec<&'a StoredTensor>, Vec<String>) {
    let (mut left, mut counts) = (Vec::new(), BTreeMap::<String, usize>::new());
    let normalising = normalisation.map(|(mean, std)| [mean, std]);
    let used = tensors.iter().map(|(_, entry)| *entry).chain(normalising.into_iter().flatten());
    let origins: HashSet<_> = used.filter_map(StoredTensor::origin).collect();
    let hints: Vec<&str> =
        Hint::all().filter(|hint| hint.model == model).flat_map(|hint| hint.unused.iter().copied()).collect();
    for &entry in rest {
        let name = entry.name.strip_prefix(prefix);
        let is_normalisation = normalising.is_some_and(|both| both.iter().any(|one| one.name == entry.name));
        let unused = hints.iter().find(|start| name.is_some_and(|name| name.starts_with(**start)));
        if let Some(start) = unused {
            *counts.entry(format!("under `{prefix}{start}`, which no forward pass reads")).or_default() += 1;
        } else if is_normalisation {
        } else if entry.origin().is_some_and(|origin| origins.contains(&origin)) {
            *counts.entry("that are the same numbers under other names".into()).or_default() += 1;
        } else {
            left.push(entry);
        }
    }
    let words = counts.into_iter().map(|(what, n)| format!("{n} tensor{} {what}", if n == 1 { "" } else { "s" }));
    (left, words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_ignored_name_means() {
        for (pattern, name, expected) in [
            ("aux.", "aux.fc.weight", true),
            ("popup_scores", "block1.conv.popup_scores", true),
            ("scores", "block1.conv.popup_scores", false),
            ("*.popup_scores", "block1.conv.popup_scores", true),
            ("*.popup_scores", "popup_scores.weight", false),
            ("block*conv*", "block1.conv.weight", true),
            ("block*conv", "block1.conv.weight", false),
            ("*bn*mean", "block1.bn1.running_mean", true),
            ("*a*a", "a", false),
            ("*", "anything", true),
        ] {
            assert_eq!(is_meant(pattern, name), expected, "{pattern} {name}");
        }
    }
}
