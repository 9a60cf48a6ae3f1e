//! The model card that foil stored in a file.

use crate::record::Threat;
use crate::record::card::said;
use foil::data::DataSource;
use foil::engine::Normalize;
use foil::model::Model;
use foil::registry::{Component, Names, key_of_plugin};
use std::collections::HashMap;

/// The parts of a card that make a pipeline; each is `None` if the file does not have it.
#[derive(Debug, Default)]
pub(super) struct Described {
    pub model: Option<Component<dyn Model>>,
    /// Whether the model needs another file, which is not part of this one.
    pub names_files: bool,
    pub data: Option<Component<dyn DataSource>>,
    pub normalize: Option<Normalize>,
    pub threat: Option<Threat>,
}

impl Described {
    pub fn of(texts: &HashMap<String, String>) -> Self {
        let settings: Option<serde_json::Map<String, serde_json::Value>> = said(texts, "model");
        let names_files = settings.is_some_and(|settings| {
            let plugin = settings.get("type").and_then(|name| name.as_str()).unwrap_or_default();
            settings.keys().any(|key| key_of_plugin(plugin, key) == Some(Names::File))
        });
        Self {
            model: said(texts, "model").filter(|_| !names_files),
            names_files,
            data: texts.get("foil.dataset").and_then(|name| Component::named(name).ok()),
            normalize: said(texts, "normalize"),
            threat: said(texts, "threat"),
        }
    }

    /// A note on what was taken from it.
    pub fn note(&self) -> Option<String> {
        let model = self.model.as_ref().map(|model| format!("model {}", model.name()));
        let data = self.data.as_ref().map(|data| format!("data {}", data.name()));
        let normalize = self.normalize.as_ref().and_then(|n| serde_json::to_string(n).ok());
        let normalize = normalize.map(|normalize| format!("normalize {}", normalize.replace('"', "")));
        let threat = self.threat.filter(|threat| threat.eps > 0.0).map(|threat| threat.to_string());
        let parts: Vec<String> = [model, data, normalize, threat].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("its model card says: {}", parts.join(", ")))
    }
}
