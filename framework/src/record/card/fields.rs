//! The card's fields, and the string map that they travel in.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::record::Threat;
use crate::record::metrics::{Values, row};

/// What there is to say about one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCard {
    /// What the run calls it, such as `cat_cw_cifar10`.
    pub name: String,
    /// The model's registered name, such as `preact_resnet18`.
    pub architecture: String,
    /// The data set that it was trained on, such as `cifar10`.
    pub dataset: String,
    /// The classes' names, in the order of the logits.
    pub classes: Vec<String>,
    /// What the model subtracts from each channel, in image units. Empty where it does not.
    pub mean: Vec<f64>,
    /// What it divides each channel by after that, in image units. Empty where it does not.
    pub std: Vec<f64>,
    /// What it was trained against.
    pub threat: Threat,
    /// The method, such as `CAT`.
    pub method: String,
    /// The run's seed.
    pub seed: u64,
    /// How many epochs it had seen.
    pub epochs: u64,
    /// How many processes trained it together; how their batch norms saw the batch is `train.batch_norm` in the config.
    pub ranks: u64,
    /// The metrics by which it was selected.
    pub metrics: Values,
    /// The version of foil that made it.
    pub foil_version: String,
    /// The version of libtorch that foil ran on.
    pub libtorch_version: String,
    /// [`config_hash`](crate::record::stamp::config_hash) of the resolved config.
    pub config_hash: String,
    /// When it was made: UTC, RFC 3339.
    pub created: String,
    /// The command that makes it again.
    pub command: String,
}

/// Why metadata hold no card.
#[derive(Debug, Error)]
pub enum CardError {
    /// The file was written by something else, or by another version of foil.
    #[error("the model's metadata have no `foil.{0}`")]
    Missing(&'static str),
    /// The value is not what the field holds.
    #[error("the model's metadata have a `foil.{field}` that cannot be read: {source}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl ModelCard {
    /// The card as the string map of a safetensors header.
    ///
    /// # Errors
    /// [`CardError::Invalid`] when a field has no JSON form. None of today's can come to that.
    pub fn to_metadata(&self) -> Result<HashMap<String, String>, CardError> {
        let texts = [
            ("name", &self.name),
            ("architecture", &self.architecture),
            ("dataset", &self.dataset),
            ("method", &self.method),
            ("foil_version", &self.foil_version),
            ("libtorch_version", &self.libtorch_version),
            ("config_hash", &self.config_hash),
            ("created", &self.created),
            ("command", &self.command),
        ];
        let others = [
            ("classes", json("classes", &self.classes)?),
            ("mean", json("mean", &self.mean)?),
            ("std", json("std", &self.std)?),
            ("threat", json("threat", &self.threat)?),
            ("seed", self.seed.to_string()),
            ("epochs", self.epochs.to_string()),
            ("ranks", self.ranks.to_string()),
            ("metrics", json("metrics", &Metrics(self.metrics.clone()))?),
        ];
        let texts = texts.into_iter().map(|(field, text)| (field, text.clone()));
        Ok(texts.chain(others).map(|(field, text)| (format!("foil.{field}"), text)).collect())
    }

    /// The card in the string map of a safetensors header.
    ///
    /// # Errors
    /// [`CardError`], with the first field that is missing or cannot be read.
    pub fn from_metadata(metadata: &HashMap<String, String>) -> Result<Self, CardError> {
        let text = |field| metadata.get(&format!("foil.{field}")).ok_or(CardError::Missing(field));
        Ok(ModelCard {
            name: text("name")?.clone(),
            architecture: text("architecture")?.clone(),
            dataset: text("dataset")?.clone(),
            classes: value("classes", text("classes")?)?,
            mean: value("mean", text("mean")?)?,
            std: value("std", text("std")?)?,
            threat: value("threat", text("threat")?)?,
            method: text("method")?.clone(),
            seed: value("seed", text("seed")?)?,
            epochs: value("epochs", text("epochs")?)?,
            // Cards of before there were several.
            ranks: text("ranks").map_or(Ok(1), |ranks| value("ranks", ranks))?,
            metrics: value::<Metrics>("metrics", text("metrics")?)?.0,
            foil_version: text("foil_version")?.clone(),
            libtorch_version: text("libtorch_version")?.clone(),
            config_hash: text("config_hash")?.clone(),
            created: text("created")?.clone(),
            command: text("command")?.clone(),
        })
    }
}

/// Metrics in JSON, with words for numbers that are not finite.
#[derive(serde::Serialize, serde::Deserialize)]
struct Metrics(#[serde(serialize_with = "row::write", deserialize_with = "row::read")] Values);

fn json(field: &'static str, value: &impl Serialize) -> Result<String, CardError> {
    serde_json::to_string(value).map_err(|source| CardError::Invalid { field, source })
}

fn value<T: DeserializeOwned>(field: &'static str, text: &str) -> Result<T, CardError> {
    serde_json::from_str(text).map_err(|source| CardError::Invalid { field, source })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::Norm;

    pub fn card() -> ModelCard {
        ModelCard {
            name: "1234".into(), // a text, whatever it looks like
            architecture: "preact_resnet18".into(),
            dataset: "cifar10".into(),
            classes: ["airplane", "bird | plane"].map(String::from).to_vec(),
            mean: vec![0.4914, 0.4822, 0.4465],
            std: vec![0.2471, 0.2435, 0.2616],
            threat: Threat { norm: Norm::Linf, eps: 8.0 / 255.0 },
            method: "CAT".into(),
            seed: u64::MAX,
            epochs: 140,
            ranks: 8,
            metrics: [("pgd10".to_string(), 55.3), ("loss".into(), f64::INFINITY)].into(),
            foil_version: "0.1.0".into(),
            libtorch_version: "2.11.0".into(),
            config_hash: "ab".repeat(32),
            created: "2026-03-21T09:30:00Z".into(),
            command: "foil train configs/cifar10/cat_cw.yaml seed=1".into(),
        }
    }

    #[test]
    fn survives_a_safetensors_file() {
        let tensors: [(&str, safetensors::tensor::TensorView); 0] = [];
        let file = safetensors::serialize(tensors, Some(card().to_metadata().unwrap())).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&file).unwrap();
        assert_eq!(ModelCard::from_metadata(header.metadata().as_ref().unwrap()).unwrap(), card());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let mut metadata = card().to_metadata().unwrap();
        metadata.insert("foil.seed".into(), "seven".into());
        let error = ModelCard::from_metadata(&metadata).unwrap_err().to_string();
        assert!(error.starts_with("the model's metadata have a `foil.seed` that cannot be read: expected"), "{error}");
        let error = ModelCard::from_metadata(&HashMap::from([("format".into(), "pt".into())])).unwrap_err();
        assert_eq!(error.to_string(), "the model's metadata have no `foil.name`");
    }
}
