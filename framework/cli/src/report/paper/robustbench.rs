//! A model's record under the names of RobustBench's `model_info`, so that leaderboards can read
//! it.

use crate::compare::Row;
use foil_runs::eval::NATURAL;
use foil_runs::pipeline::Pipeline;
use serde_json::{Value, json};

/// The record of a row's first run; none if it is not evaluated.
///
/// Accuracies are texts in percent with two decimals, as there. `autoattack_acc` is there when AutoAttack was run; `reported` is
/// the worst case of each image over the evaluation, or the lowest accuracy under any attack. What RobustBench has no name for is under `foil`.
pub fn model_info(row: &Row) -> Option<Value> {
    let (run, _) = row.runs.first()?;
    let eval = run.eval()?;
    let percent = |value: f64| format!("{value:.2}");
    let attacks = || eval.entries.iter().filter(|entry| entry.name != NATURAL);
    let lowest = attacks().map(|entry| entry.accuracy).chain(eval.worst_case).reduce(f64::min);
    let text = |attack: &Value, key: &str| attack.get(key).and_then(Value::as_str).map(str::to_string);
    let is_autoattack = |attack: &Value| {
        // Its leaderboards are of the standard version.
        text(attack, "type").as_deref() == Some("autoattack") && text(attack, "version").is_none_or(|v| v == "standard")
    };
    let autoattack = attacks().find(|entry| is_autoattack(&entry.attack)).map(|entry| percent(entry.accuracy));
    let threat = eval.threat.to_string();
    let eps = threat.split(' ').next_back().unwrap_or_default();
    let mut info = json!({
        "link": "",
        "name": row.label,
        "authors": "",
        "additional_data": false,
        "number_forward_passes": 1,
        "dataset": eval.dataset,
        "venue": "Unpublished",
        "architecture": architecture(&run.pipeline),
        "eps": eps,
        "clean_acc": eval.entry(NATURAL).map(|entry| percent(entry.accuracy)),
        "reported": lowest.map(percent),
        "autoattack_acc": autoattack,
        "corruptions_acc": eval.corruptions.as_ref().map(|all| percent(all.mean)),
        "unreliable": eval.trust.iter().any(|check| check.passed == Some(false)),
        "foil": {
            "threat_model": eval.threat.norm, "images": eval.n, "seed": eval.seed, "precision": eval.precision, "version": eval.foil_version,
            "config_hash": eval.config_hash, "folder": run.path,
            "accuracies": eval.entries.iter().map(|entry| (entry.name.clone(), json!(entry.accuracy))).collect::<serde_json::Map<_, _>>(),
        },
    });
    if let Value::Object(fields) = &mut info {
        fields.retain(|_, value| !value.is_null());
    }
    Some(info)
}

/// The network as papers write it.
fn architecture(pipeline: &Pipeline) -> String {
    let settings = serde_json::to_value(&pipeline.model).unwrap_or_default();
    let number = |key: &str| settings.get(key).map(Value::to_string).unwrap_or_default();
    match pipeline.model.name() {
        "preact_resnet18" | "dm_preact_resnet18" => "PreActResNet-18".into(),
        "resnet18" => "ResNet-18".into(),
        "wide_resnet" | "dm_wide_resnet" => format!("WideResNet-{}-{}", number("depth"), number("width")),
        other => other.to_string(),
    }
}
