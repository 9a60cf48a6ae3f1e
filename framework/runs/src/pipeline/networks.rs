//! The networks besides the model, and what follows it.

use super::Pipeline;
use foil::average::Average;
use foil::engine::{Averaged, Averages, Further, Learner, Network, Networks};
use foil::registry::{Build, Component};
use std::collections::BTreeMap;

/// Builds the networks under `networks`, with their weights.
pub(super) fn networks(cx: &Build, pipeline: &Pipeline, [mean, std]: [&[f64]; 2]) -> Networks {
    let mut built = BTreeMap::new();
    for (name, config) in &pipeline.networks {
        let at = cx.at("networks").at(name);
        if let Some((key, message, help)) = config.normalize.fault(cx.data.channels) {
            at.at("normalize").problem(key, message, help);
        }
        let network = cx.network(&format!("networks.{name}.model"), &config.model, cx.data.channels);
        let optimizer = config.optimizer.as_ref().map(|own| at.component("optimizer", own));
        if config.init.is_none() && config.optimizer.is_none() {
            let help = "write `init:` with its checkpoint, or `optimizer:` if it is to learn";
            at.problem("", "neither has weights nor learns any", help);
        }
        let Some(network) = network else { continue };
        if network.is_mask() {
            at.problem("model", format!("is `{}`, which outputs masks, not logits", config.model.name()), "");
        }
        let network = network.normalized(&config.normalize, mean, std).with_norms(config.batch_norm);
        if let Some(path) = config.init.as_ref().map(|init| init.within(&pipeline.folder))
            && let Err(error) = network.read(&path)
        {
            let help = error.suggestion().unwrap_or("name a checkpoint of this model and data set").to_string();
            at.problem("init", format!("cannot be used: {}", error.message()), help);
        }
        let further = match optimizer {
            None => Further::Frozen(network),
            Some(Some(optimizer)) => Further::Learning(Learner::new(network, optimizer)),
            Some(None) => continue,
        };
        built.insert(name.clone(), further);
    }
    Networks::new(built)
}

/// Builds the averages, each with a network like the model. `None` if one cannot be built.
pub(super) fn averages(cx: &Build, pipeline: &Pipeline, prepared: impl Fn(Network) -> Network) -> Option<Averages> {
    let built = |key: &str, average: &Component<dyn Average>| {
        let built: Option<Box<dyn Average>> = cx.component::<dyn Average>(key, average);
        // Its problems are the model's.
        let network = cx.network("model", &pipeline.model, cx.data.channels);
        let epochs = pipeline.train.epochs;
        let (built, network) = (built?, network?);
        let begins = built.begins(epochs);
        if begins >= epochs as f64 {
            let message = format!("begins after {begins} epochs, and the run has {epochs}");
            cx.problem(key, message, "let it begin earlier, or train for longer");
        }
        Some(Averaged::new(prepared(network), built))
    };
    let evaluated = pipeline.average.as_ref().map(|average| built("average", average));
    let further = pipeline.averages.iter().map(|(name, average)| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if name == "mask" || name.is_empty() || !name.chars().all(is_plain) {
            let help = "it names files beside `best_mask.safetensors`: choose letters, digits, `_` and `-`";
            cx.at("averages").problem(name, "is not a name for an average", help);
        }
        (name.clone(), built(&format!("averages.{name}"), average))
    });
    let further: Vec<(String, Option<Averaged>)> = further.collect();
    let further = further.into_iter().map(|(name, average)| Some((name, average?))).collect::<Option<_>>()?;
    Some(Averages { evaluated: evaluated.map_or(Some(None), |average| average.map(Some))?, further })
}

/// The name of an optional part.
pub(super) fn name_of<T: foil::registry::Kind + ?Sized>(part: Option<&Component<T>>) -> Option<&'static str> {
    part.map(Component::name)
}
