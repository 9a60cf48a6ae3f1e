//! A run's properties, in the terms of the paper's figures.

use crate::report::Group;
use crate::report::paper::fits;
use foil::attack::radius;
use foil::{Error, Result};
use foil_runs::pipeline::Pipeline;
use foil_runs::record::EvalRecord;
use serde_yaml::Value;

/// The value under a dotted key of a pipeline.
pub fn find(pipeline: &Pipeline, key: &str) -> Option<Value> {
    let whole = serde_yaml::to_value(pipeline).ok()?;
    key.split('.').try_fold(&whole, |value, part| value.get(part)).cloned()
}

/// The number under a dotted key; for a scheduled number, its last value.
pub fn number(pipeline: &Pipeline, key: &str) -> Option<f64> {
    let value = find(pipeline, key)?;
    let plain = |value: &Value| value.as_f64().or_else(|| value.as_str().and_then(foil_config::fraction));
    plain(&value).or_else(|| plain(value.get("points")?.as_sequence()?.last()?.as_sequence()?.get(1)?))
}

/// Whether a mask calibrates the training images.
pub fn is_cat(pipeline: &Pipeline) -> bool {
    find(pipeline, "attack.inner.objective").is_some() && pipeline.loss.name() == "cat"
}

/// The objective of the training attack: `ce`, `cw`, `kl`.
fn objective(pipeline: &Pipeline) -> Option<String> {
    let name = |path: &str| find(pipeline, path)?.as_str().map(str::to_string);
    name("attack.inner.objective.type").or_else(|| name("attack.objective.type"))
}

/// The objective as in Figure 5.
pub fn ascended(pipeline: &Pipeline) -> String {
    match objective(pipeline).as_deref() {
        Some("cw") => "CW∞".into(),
        Some(other) => other.to_uppercase(),
        None => pipeline.attack.name().into(),
    }
}

/// The method as the paper calls it: AT, TRADES, FAT_TRADES, CAT_cent, CAT_cw …
pub fn method(pipeline: &Pipeline) -> String {
    let loss = pipeline.loss.name();
    if is_cat(pipeline) {
        return match objective(pipeline).as_deref() {
            Some("ce") | None => "CAT_cent".into(),
            Some(other) => format!("CAT_{other}"),
        };
    }
    match pipeline.attack.name() {
        "early_stopped_pgd" if loss == "at" => "FAT".into(),
        "early_stopped_pgd" => format!("FAT_{}", loss.to_uppercase()),
        _ => loss.to_uppercase(),
    }
}

/// A curve of Figure 4: the ablation, or CAT with its beta1.
pub fn ablation(pipeline: &Pipeline) -> String {
    let weighted = find(pipeline, "loss.weighted").and_then(|value| value.as_bool()).unwrap_or(true);
    let part = match (is_cat(pipeline), pipeline.loss.name()) {
        (true, _) => {
            let beta1 = number(pipeline, "attack.beta1").map_or(String::new(), |beta1| format!(" β1 {beta1}"));
            let weight = if weighted { "" } else { ", no weight" };
            return format!("{}{beta1}{weight}", method(pipeline));
        }
        (false, "cat") if weighted => "A2",
        (false, "cat") => "A1",
        _ => return method(pipeline),
    };
    match objective(pipeline).as_deref() {
        Some("ce") | None => part.into(),
        Some(other) => format!("{part} {}", other.to_uppercase()),
    }
}

/// Whether an attack's settings are PGD in the Linf ball with these steps and this start.
fn is_pgd(settings: &Value, steps: u64, start: &str) -> bool {
    let same = |key: &str, wanted: Value| (key.to_string(), wanted);
    let wanted = [same("type", "pgd".into()), same("steps", steps.into()), same("start", start.into())];
    // Records of old versions omit defaults.
    let cross_entropy = settings.get("objective").is_none() || fits(settings, &[same("objective", "ce".into())].into());
    fits(settings, &wanted.into()) && cross_entropy
}

/// The name of the attack of the pipeline that is PGD with these steps and this start.
pub fn watched(pipeline: &Pipeline, steps: u64, start: &str) -> Option<String> {
    let settings = |name: &str| serde_yaml::to_value(pipeline.attack_settings(name)).unwrap_or_default();
    pipeline.attacks.keys().find(|name| is_pgd(&settings(name), steps, start)).cloned()
}

/// Accuracy in percent under PGD with these steps from the image itself, and the radius.
pub fn under_pgd(eval: &EvalRecord, steps: u64) -> Option<(f64, f64)> {
    eval.entries.iter().find_map(|entry| {
        let settings = serde_yaml::to_value(&entry.attack).ok()?;
        let eps = settings.get("eps").map(|eps| eps.as_f64().or_else(|| foil_config::fraction(eps.as_str()?)))??;
        is_pgd(&settings, steps, "none").then_some((entry.accuracy, eps))
    })
}

/// The radius at which all are evaluated under PGD with these steps.
///
/// # Errors
/// When there are several.
pub fn evaluated_at<'a>(groups: impl IntoIterator<Item = &'a Group>, steps: u64) -> Result<Option<f64>> {
    let mut all: Vec<f64> =
        groups.into_iter().flat_map(Group::evals).filter_map(|eval| Some(under_pgd(eval, steps)?.1)).collect();
    all.sort_by(f64::total_cmp);
    all.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
    if let [first, .., last] = all[..] {
        let (first, last) = (radius(first), radius(last));
        return Err(Error::new(format!("these runs are evaluated under PGD-{steps} at {first} and at {last}"))
            .help("evaluate them at one radius: foil eval RUN attacks.NAME.eps=…"));
    }
    Ok(all.first().copied())
}

/// Whether a number is whole up to rounding.
pub fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6
}
