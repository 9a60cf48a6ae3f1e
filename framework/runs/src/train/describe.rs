//! How a run is reported: its curves' names, an epoch's line, the model card.

use crate::pipeline::{Assembled, Pipeline};
use crate::record::{ModelCard, Values, stamp};
use foil::distributed::World;

/// TensorBoard groups curves by the part before the slash.
pub(super) fn tag(name: &str) -> String {
    match name.strip_prefix("train_") {
        Some(rest) => format!("train/{rest}"),
        None if name == "lr" => "train/lr".into(),
        None => format!("accuracy/{name}"),
    }
}

/// An epoch in one line: the loss, the rate, and what was measured.
pub(super) fn summary(values: &Values) -> String {
    let parts =
        values.iter().filter(|(name, _)| *name == "train_loss" || !name.starts_with("train_")).map(|(name, value)| {
            match name.as_str() {
                "train_loss" => format!("loss {value:.4}"),
                "lr" => format!("lr {value}"),
                _ => format!("{name} {value:.2}"),
            }
        });
    parts.collect::<Vec<_>>().join(", ")
}

/// The model card of the run's model before it is trained.
pub(super) fn card(
    pipeline: &Pipeline,
    parts: &Assembled,
    data: &foil::data::Dataset,
    resolved: &str,
    world: World,
) -> ModelCard {
    let (mean, std) = pipeline.normalize.affine(&data.facts.mean, &data.facts.std).unwrap_or_default();
    let name = pipeline.name.clone().unwrap_or_default();
    ModelCard {
        architecture: pipeline.model.name().into(),
        model: serde_json::to_value(&pipeline.model).unwrap_or_default(),
        normalize: serde_json::to_value(&pipeline.normalize).unwrap_or_default(),
        dataset: data.facts.name.clone(),
        classes: data.facts.class_names.clone(),
        mean,
        std,
        threat: parts.threat(),
        method: pipeline.method(),
        seed: pipeline.seed,
        epochs: 0,
        ranks: world.size() as u64,
        metrics: Values::default(),
        foil_version: foil::VERSION.into(),
        libtorch_version: foil::LIBTORCH.into(),
        config_hash: stamp::config_hash(resolved),
        created: stamp::now(),
        command: "foil train resolved.yaml".into(),
        name,
    }
}
