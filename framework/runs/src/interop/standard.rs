//! The pipeline of a model that was imported without one.

use crate::pipeline::Registry;
use crate::pipeline::{Pipeline, root_schema};
use foil::attack::{Norm, Threat, radius};
use foil::data::DataSource;
use foil::engine::Normalize;
use foil::model::Model;
use foil::registry::Component;
use foil::{AtPath, Error, Result};
use std::path::Path;

/// A placeholder for training, and standard attacks for its data set, with the radius and norm of
/// `threat` if known.
pub(super) fn standard(
    name: &str,
    model: &Component<dyn Model>,
    data: &Component<dyn DataSource>,
    normalize: &Normalize,
    threat: Option<Threat>,
) -> Result<Pipeline> {
    let grey = crate::data::facts_of(data, Path::new(""))?.image[0] == 1;
    let usual = Threat { norm: Norm::Linf, eps: if grey { 0.3 } else { 8.0 / 255.0 } };
    let Threat { norm, eps } = threat.filter(|threat| threat.eps > 0.0).unwrap_or(usual);
    let text = |value: &dyn erased_serde::Serialize| {
        serde_json::to_string(value).map_err(|e| Error::new(format!("the pipeline cannot be written: {e}")))
    };
    let (name, data, model, normalize) = (text(&name)?, text(data)?, text(model)?, text(normalize)?);
    let ball = format!("eps: {}, alpha: {}", radius(eps), radius(eps / if grey { 10.0 } else { 4.0 }));
    let pgd = |rest: &str| format!("type: pgd, norm: {norm}{rest}, {ball}, steps: 20, start: uniform");
    let mut attacks = match norm {
        Norm::Linf | Norm::L2 => vec![("pgd20", pgd("")), ("cw", pgd(", objective: { type: cw, kappa: 50 }"))],
        Norm::L1 => vec![("apgd", format!("type: apgd, norm: L1, eps: {}", radius(eps)))],
    };
    if norm == Norm::Linf {
        attacks.insert(0, ("fgsm", format!("type: fgsm, eps: {}", radius(eps))));
    }
    let names: Vec<&str> = attacks.iter().map(|(name, _)| *name).collect();
    let lines: String = attacks.iter().map(|(name, attack)| format!("  {name}: {{ {attack} }}\n")).collect();
    let yaml = format!(
        "name: {name}
data: {data}
model: {model}
normalize: {normalize}
attack: none
loss: at
optimizer: {{ type: sgd, lr: 0.01, momentum: 0.9 }}
train: {{ epochs: 1 }}
evaluate: [natural, {}]
attacks:
{lines}",
        names.join(", ")
    );
    let checked = foil_config::load_str("the imported model's pipeline", yaml, &[], &root_schema(), &Registry)?;
    serde_yaml::from_value(checked.value).at("reading", Path::new("the imported model's pipeline"))
}
