//! Accuracy on corrupted images, which no attack has made: CIFAR-10-C and the like.

use super::{Trial, percent};
use crate::pipeline::Pipeline;
use foil::data::{DataSource, Resident};
use foil::engine::Network;
use foil::registry::{Component, DataFacts, Kind, plugins};
use foil::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Its name under `evaluate`.
pub const CORRUPTIONS: &str = "corruptions";

/// A model's accuracy on each part of a set of corrupted images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Corruptions {
    /// The set, such as `cifar10_c`.
    pub dataset: String,
    /// Images of each part.
    pub n: u64,
    /// The mean of all parts' accuracies, in percent: RobustBench's `corruptions_acc`.
    pub mean: f64,
    /// Each corruption at each severity.
    pub parts: Vec<Part>,
}

/// The accuracy on one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The corruption, such as `fog`.
    pub corruption: String,
    /// Its severity; none where a part is not divided.
    pub severity: Option<u64>,
    /// Images classified correctly, in percent of `n`.
    pub accuracy: f64,
}

/// The set of corrupted images of a pipeline: the one that it names, or the one that is called
/// after its data set.
///
/// # Errors
/// When there is none.
pub fn source(pipeline: &Pipeline) -> Result<Component<dyn DataSource>> {
    if let Some(named) = &pipeline.corruptions {
        return Ok(named.clone());
    }
    let own = format!("{}_c", pipeline.data.name());
    Component::named(&own).map_err(|_| {
        let ours = plugins().into_iter().filter(|entry| entry.kind() == <dyn DataSource>::NAME);
        let known: Vec<&str> = ours.map(|entry| entry.name()).filter(|name| name.ends_with("_c")).collect();
        Error::new(format!("there are no corrupted images of `{}`", pipeline.data.name()))
            .help(format!("name a set of them, as in `corruptions: {}`", known.first().unwrap_or(&"cifar10_c")))
    })
}

/// Measures a network on all parts; `data` are the facts of the clean set, and `report` is called
/// with each part's name and accuracy.
///
/// # Errors
/// When the set is not found, is damaged, or is not of the shape and classes of the clean one.
pub fn measure(
    pipeline: &Pipeline,
    network: &Network,
    data: DataFacts,
    report: &mut dyn FnMut(&str, f64),
) -> Result<Corruptions> {
    let set = source(pipeline)?;
    let name = set.name();
    let set = set.build_within(Path::new(&pipeline.folder))?;
    let facts = set.facts()?;
    let found = DataFacts { train: data.train, ..DataFacts::from(&facts) };
    if found != data {
        let shape = |of: DataFacts| format!("{} x {} x {} in {} classes", of.channels, of.height, of.width, of.classes);
        return Err(Error::new(format!(
            "the images of `{name}` are {}, those of the run {}",
            shape(found),
            shape(data)
        )));
    }
    let limit = pipeline.images.test_limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let (mut parts, mut n) = (Vec::new(), 0);
    for part in set.parts() {
        let images = crate::data::watched(&part, |progress| set.read_part(&part, progress))?;
        let images = Resident::new(&images.test, network.params().device())?.first(limit);
        n = images.len() as u64;
        let batch_size = pipeline.train.eval_batch_size as i64;
        let mut trial =
            Trial { name: &part, attack: None, data: &images, batch_size, seed: pipeline.seed, keeps_images: false };
        let accuracy = percent(&trial.run(network, &mut |_| {})?);
        report(&part, accuracy);
        let (corruption, severity) = match part.split_once('@') {
            Some((corruption, severity)) => (corruption.to_string(), severity.parse().ok()),
            None => (part.clone(), None),
        };
        parts.push(Part { corruption, severity, accuracy });
    }
    if parts.is_empty() {
        return Err(Error::new(format!("the data set `{name}` has no parts to evaluate on"))
            .help("name a set of corrupted images, such as `corruptions: cifar10_c`"));
    }
    let mean = mean(&parts);
    Ok(Corruptions { dataset: name.to_string(), n, mean, parts })
}

fn mean(parts: &[Part]) -> f64 {
    parts.iter().map(|part| part.accuracy).sum::<f64>() / parts.len().max(1) as f64
}

impl Corruptions {
    /// The names of its parts, as the data set has them.
    pub fn names(&self) -> Vec<String> {
        let name = |part: &Part| match part.severity {
            Some(severity) => format!("{}@{severity}", part.corruption),
            None => part.corruption.clone(),
        };
        self.parts.iter().map(name).collect()
    }

    /// The corruptions in their order, each with its accuracy by severity.
    pub fn rows(&self) -> Vec<(&str, Vec<&Part>)> {
        let mut rows: Vec<(&str, Vec<&Part>)> = Vec::new();
        for part in &self.parts {
            match rows.iter_mut().find(|(name, _)| *name == part.corruption) {
                Some((_, parts)) => parts.push(part),
                None => rows.push((&part.corruption, vec![part])),
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(corruption: &str, severity: u64, accuracy: f64) -> Part {
        Part { corruption: corruption.into(), severity: Some(severity), accuracy }
    }

    // RobustBench's corruptions_acc of [[.9, .8], [.6, .5]] is .7.
    #[test]
    fn the_mean_is_over_all_parts() {
        let parts = vec![part("fog", 1, 90.0), part("fog", 2, 80.0), part("snow", 1, 60.0), part("snow", 2, 50.0)];
        assert!((mean(&parts) - 70.0).abs() < 1e-12);
        let all = Corruptions { dataset: "cifar10_c".into(), n: 10, mean: 70.0, parts };
        let rows = all.rows();
        assert_eq!((rows.len(), rows[1].0, rows[1].1[1].accuracy), (2, "snow", 50.0));
    }
}
