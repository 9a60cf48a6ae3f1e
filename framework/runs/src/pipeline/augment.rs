//! The augmentations of a pipeline, and whether what follows can do with what they make.

use super::Pipeline;
use foil::attack::Attack;
use foil::data::Augmentations;
use foil::loss::Loss;
use foil::registry::Build;

/// Builds those that can be built.
pub(super) fn built(cx: &Build, pipeline: &Pipeline) -> Augmentations {
    let at = cx.at("augment");
    let (mut parts, mut mixing) = (Vec::new(), None);
    for (i, component) in pipeline.augment.iter().enumerate() {
        let (i, name) = (i.to_string(), component.name());
        let Some(part) = at.component(&i, component) else { continue };
        match (foil::guard(|| Ok(part.mixes())).unwrap_or(false), mixing) {
            (true, _) => mixing = Some(name),
            (false, Some(before)) => {
                let message =
                    format!("is `{name}`, which changes single images, but comes after `{before}`, which mixes them");
                at.problem(&i, message, "put those that mix images last");
            }
            (false, None) => {}
        }
        parts.push((part, name));
    }
    Augmentations::new(parts, cx.data.classes).unwrap_or_else(|error| {
        cx.problem("augment", format!("cannot be used: {}", error.message()), error.suggestion().unwrap_or_default());
        Augmentations::default()
    })
}

/// Whether loss and attack have a meaning for the labels of mixed images.
pub(super) fn check(cx: &Build, pipeline: &Pipeline, loss: &dyn Loss, attack: &dyn Attack, augment: &Augmentations) {
    let Some(name) = augment.mixing() else { return };
    let parts = [
        ("loss", pipeline.loss.name(), loss.soft_labels(), "at or trades"),
        ("attack", pipeline.attack.name(), attack.soft_labels(), "pgd with `objective: ce`"),
    ];
    for (key, part, _, others) in parts.into_iter().filter(|(_, _, fits, _)| !fits) {
        let message =
            format!("is `{part}`, which asks for one label of each image, but `{name}` gives several classes a share");
        cx.problem(key, message, format!("choose another {key}, such as {others}; or leave `{name}` out of `augment`"));
    }
}
