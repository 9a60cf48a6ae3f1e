//! A model's record under the names of RobustBench's `model_info`, so that leaderboards can read
//! it.

use crate::compare::Row;
use foil_runs::eval::NATURAL;
use foil_runs::pipeline::Pipeline;
use foil_runs::record::{AttackResult, EvalRecord};
use serde_json::{Value, json};

/// What a card says of the paper.
#[derive(Debug, Clone, Copy)]
pub struct Paper<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its authors, separated by commas.
    pub authors: &'a str,
    /// Where it can be read.
    pub link: &'a str,
    /// Where it appeared.
    pub venue: &'a str,
    /// Whether the run's extra images are generated ones, which do not count as additional data.
    pub synthetic: bool,
}

/// The card of a row's first run as RobustBench keeps it in `model_info`; none if the run is not
/// evaluated. A worst case below AutoAttack's figure is given as `external`.
pub fn card(row: &Row, paper: &Paper) -> Option<Value> {
    let mut info = model_info(row)?;
    let (run, _) = row.runs.first()?;
    let fields = info.as_object_mut()?;
    fields.remove("foil");
    for (key, text) in [("name", paper.title), ("authors", paper.authors), ("link", paper.link), ("venue", paper.venue)]
    {
        fields.insert(key.into(), text.into());
    }
    let number = |fields: &serde_json::Map<String, Value>, key: &str| fields.get(key)?.as_str()?.parse::<f64>().ok();
    let (worst, autoattack) = (number(fields, "reported"), number(fields, "autoattack_acc"));
    if let (Some(worst), Some(autoattack)) = (worst, autoattack)
        && worst < autoattack
    {
        fields.insert("external".into(), format!("{worst:.2}").into());
    }
    if let Some(autoattack) = fields.get("autoattack_acc").cloned() {
        fields.insert("reported".into(), autoattack);
    }
    if paper.synthetic && run.pipeline.extra.is_some() {
        fields.insert("additional_data".into(), false.into());
        let count = extra_images(&run.pipeline).map_or(String::new(), |count| format!("{count} "));
        let footnote = format!("It uses additional {count}synthetic images in training.");
        fields.insert("footnote".into(), footnote.into());
    }
    Some(info)
}

/// How many extra images a pipeline has, as RobustBench writes it: `1M`, `500K`.
fn extra_images(pipeline: &Pipeline) -> Option<String> {
    let extra = pipeline.extra.as_ref()?;
    let found = foil_runs::data::facts_of(&extra.data, &pipeline.folder).ok().map(|facts| facts.counts.train as u64);
    let count = match (found, extra.limit) {
        (Some(found), Some(limit)) => found.min(limit),
        (found, limit) => found.or(limit)?,
    };
    Some(match count {
        n if n >= 1_000_000 && n % 1_000_000 == 0 => format!("{}M", n / 1_000_000),
        n if n >= 1000 && n % 1000 == 0 => format!("{}K", n / 1000),
        n => n.to_string(),
    })
}

/// Whether an evaluation has AutoAttack's standard version.
pub fn has_autoattack(eval: &EvalRecord) -> bool {
    autoattack(eval).is_some()
}

/// The entry of AutoAttack's standard version, the one of leaderboards.
fn autoattack(eval: &EvalRecord) -> Option<&AttackResult> {
    let text = |attack: &Value, key: &str| attack.get(key).and_then(Value::as_str).map(str::to_string);
    eval.entries.iter().find(|AttackResult { attack, .. }| {
        text(attack, "type").as_deref() == Some("autoattack") && text(attack, "version").is_none_or(|v| v == "standard")
    })
}

/// The record of a row's first run; none if it is not evaluated.
///
/// Accuracies are texts in percent with two decimals, as there. `autoattack_acc` is there when
/// AutoAttack was run; `reported` is the worst case of each image over the evaluation, or the
/// lowest accuracy under any attack. What RobustBench has no name for is under `foil`.
pub fn model_info(row: &Row) -> Option<Value> {
    let (run, _) = row.runs.first()?;
    let eval = run.eval()?;
    let percent = |value: f64| format!("{value:.2}");
    let attacks = || eval.entries.iter().filter(|entry| entry.name != NATURAL);
    let lowest = attacks().map(|entry| entry.accuracy).chain(eval.worst_case).reduce(f64::min);
    let autoattack = autoattack(eval).map(|entry| percent(entry.accuracy));
    let threat = eval.threat.to_string();
    let eps = threat.split(' ').next_back().unwrap_or_default();
    let mut info = json!({
        "link": "",
        "name": row.label,
        "authors": "",
        "additional_data": run.pipeline.extra.is_some(),
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
