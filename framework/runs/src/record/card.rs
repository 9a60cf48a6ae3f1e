//! The model card: what a stored model is, how it was made and what it reached.
//!
//! It travels inside the model's safetensors file, in the header's string map, so a model cannot
//! be separated from it. Each field is a key `foil.FIELD`; texts are stored as they are, everything
//! else as JSON.

use super::Threat;
use super::metrics::{Values, row};
use std::collections::HashMap;

/// The card of one model.
#[derive(Debug, Clone)]
pub struct ModelCard {
    /// The run's name for it, such as `cat_cw_cifar10`.
    pub name: String,
    /// The model's registered name, such as `preact_resnet18`.
    pub architecture: String,
    /// The model with its settings, as in a pipeline.
    pub model: serde_json::Value,
    /// Its normalisation, as in a pipeline.
    pub normalize: serde_json::Value,
    /// The data set that it was trained on, such as `cifar10`.
    pub dataset: String,
    /// The classes' names, in the order of the logits.
    pub classes: Vec<String>,
    /// What the model subtracts from each channel, in image units. Empty if it does not.
    pub mean: Vec<f64>,
    /// What it then divides each channel by, in image units. Empty if it does not.
    pub std: Vec<f64>,
    /// The threat model it was trained against.
    pub threat: Threat,
    /// The method, such as `CAT`.
    pub method: String,
    /// The run's seed.
    pub seed: u64,
    /// How many epochs it was trained.
    pub epochs: u64,
    /// How many processes trained it together; `train.batch_norm` in the config says how their
    /// batch norms saw the batch.
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

impl ModelCard {
    /// The card as the string map of a safetensors header.
    ///
    /// # Errors
    /// When a field has no JSON form, which cannot happen with today's fields.
    pub fn to_metadata(&self) -> serde_json::Result<HashMap<String, String>> {
        use serde_json::to_string as json;
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
            ("model", json(&self.model)?),
            ("normalize", json(&self.normalize)?),
            ("classes", json(&self.classes)?),
            ("mean", json(&self.mean)?),
            ("std", json(&self.std)?),
            ("threat", json(&self.threat)?),
            ("seed", self.seed.to_string()),
            ("epochs", self.epochs.to_string()),
            ("ranks", self.ranks.to_string()),
            ("metrics", json(&Metrics(&self.metrics))?),
        ];
        let texts = texts.into_iter().map(|(field, text)| (field, text.clone()));
        Ok(texts.chain(others).map(|(field, text)| (format!("foil.{field}"), text)).collect())
    }
}

/// A field of the card in a file's texts that is stored as JSON; `None` if it is not there or is
/// something else.
pub fn said<T: serde::de::DeserializeOwned>(texts: &HashMap<String, String>, field: &str) -> Option<T> {
    serde_json::from_str(texts.get(&format!("foil.{field}"))?).ok()
}

/// The number of epochs in the texts of a card; 0 if there is none.
pub fn epochs(texts: &HashMap<String, String>) -> u64 {
    texts.get("foil.epochs").and_then(|epochs| epochs.parse().ok()).unwrap_or(0)
}

/// Metrics in JSON, with words for numbers that are not finite.
#[derive(serde::Serialize)]
struct Metrics<'a>(#[serde(serialize_with = "row::write")] &'a Values);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Norm;

    #[test]
    fn every_field_is_a_text_under_its_name() {
        let card = ModelCard {
            name: "1234".into(),
            architecture: "preact_resnet18".into(),
            model: serde_json::json!({ "type": "preact_resnet18" }),
            normalize: "data".into(),
            dataset: "cifar10".into(),
            classes: ["airplane", "bird \"plane\""].map(String::from).to_vec(),
            mean: vec![0.4914, 0.4822, 0.4465],
            std: vec![0.2471, 0.2435, 0.2616],
            threat: Threat { norm: Norm::Linf, eps: 0.5 },
            method: "CAT".into(),
            seed: u64::MAX,
            epochs: 140,
            ranks: 8,
            metrics: [("pgd10".to_string(), 55.3), ("loss".into(), f64::INFINITY)].into(),
            foil_version: "0.1.0".into(),
            libtorch_version: "2.11.0".into(),
            config_hash: "abab".into(),
            created: "2026-03-21T09:30:00Z".into(),
            command: "foil train configs/cifar10/cat_cw.yaml seed=1".into(),
        };
        let expected = [
            ("foil.name", "1234"),
            ("foil.architecture", "preact_resnet18"),
            ("foil.model", r#"{"type":"preact_resnet18"}"#),
            ("foil.normalize", r#""data""#),
            ("foil.dataset", "cifar10"),
            ("foil.classes", r#"["airplane","bird \"plane\""]"#),
            ("foil.mean", "[0.4914,0.4822,0.4465]"),
            ("foil.std", "[0.2471,0.2435,0.2616]"),
            ("foil.threat", r#"{"norm":"Linf","eps":0.5}"#),
            ("foil.method", "CAT"),
            ("foil.seed", "18446744073709551615"),
            ("foil.epochs", "140"),
            ("foil.ranks", "8"),
            ("foil.metrics", r#"{"pgd10":55.3,"loss":"inf"}"#),
            ("foil.foil_version", "0.1.0"),
            ("foil.libtorch_version", "2.11.0"),
            ("foil.config_hash", "abab"),
            ("foil.created", "2026-03-21T09:30:00Z"),
            ("foil.command", "foil train configs/cifar10/cat_cw.yaml seed=1"),
        ];
        assert_eq!(card.to_metadata().unwrap(), expected.map(|(key, text)| (key.into(), text.into())).into());
    }
}
