//! Accuracy as an attack gets a larger radius, and as it gets more steps.

use crate::report::{Progress, Unit};
use foil::data::Resident;
use foil::engine::{choose, shown};
use foil::{AtPath, Error, Result, tensors};
use foil_runs::eval::{NATURAL, Trial, percent};
use foil_runs::pipeline::{Loaded, assemble, look};
use foil_runs::record::{AttackResult, EvalRecord, card, stamp};
use foil_runs::train::Folder;
use serde_json::{Value, json};
use std::path::Path;
use tch::{Device, Kind};

/// Multiples of the attack's radius at which accuracy is measured.
const RADII: [f64; 8] = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0];
/// Numbers of steps at which accuracy is measured.
const STEPS: [u64; 6] = [1, 2, 5, 10, 20, 50];
/// Steps of the attack while its radius changes.
const STEPS_OF_RADII: u64 = 10;

/// Measures the best checkpoint of a run on the first `n` test images and writes the record to
/// `out`.
///
/// The attack is the first of the run's evaluation that has a radius and steps. Its step size goes
/// with radius and steps, `2.5 * eps / steps` as in Madry et al. 2018, so that every attack can
/// reach the ball's edge.
///
/// # Errors
/// When the evaluation has no such attack, or what the run's parts report.
pub(super) fn measure(run: &Path, n: i64, out: &Path) -> Result<EvalRecord> {
    let folder = Folder::open(run)?;
    let first = look(&folder.resolved(), &[])?;
    let (attack, eps) = base(&first)?;
    let threat = first.built(assemble(&first.pipeline, Kind::Float, Device::Cpu, true))?.eval_threat();
    let with = |eps: f64, steps: u64| {
        let mut attack = attack.clone();
        attack.insert("eps".into(), json!(eps.min(1.0)));
        attack.insert("steps".into(), json!(steps));
        attack.insert("alpha".into(), json!((2.5 * eps / steps as f64).min(eps.min(1.0))));
        Value::Object(attack)
    };
    let radii = RADII.iter().map(|share| (format!("eps{share}"), with(share * eps, STEPS_OF_RADII)));
    let steps = STEPS
        .iter()
        .filter(|steps| **steps != STEPS_OF_RADII)
        .map(|steps| (format!("steps{steps}"), with(eps, *steps)));
    let attacks: Vec<(String, Value)> = radii.chain(steps).collect();
    let overrides: Vec<String> = vec![
        format!("attacks={}", Value::Object(attacks.iter().cloned().collect())),
        "select=natural".into(),
        "evaluate=[natural]".into(),
        "train.watch=[]".into(),
    ];

    let loaded = look(&folder.resolved(), &overrides)?;
    let pipeline = &loaded.pipeline;
    let device = choose(&pipeline.device)?;
    let mut parts = loaded.built(assemble(pipeline, Kind::Float, device, false))?;
    let network = parts.step.model.network();
    let stored = tensors::load(&folder.best())?;
    network.params().load(&stored.tensors).map_err(|e| e.context(folder.best().display()))?;
    let test = Resident::new(&foil_runs::data::read(pipeline)?.test, device)?.first(n);
    let mut progress = Progress::new(format!("{}: curves", run.display()), (attacks.len() + 1) as u64, Unit::ATTACKS);
    let mut entries = Vec::new();
    for (name, settings) in [(NATURAL.to_string(), Value::Null)].into_iter().chain(attacks) {
        let started = std::time::Instant::now();
        let attack = parts.attacks.get_mut(&name).map(|attack| attack.as_mut() as _);
        let batch_size = pipeline.train.eval_batch_size as i64;
        let mut trial =
            Trial { name: &name, attack, data: &test, batch_size, seed: pipeline.seed, keeps_images: false };
        let accuracy = percent(&trial.run(network, &mut |_| {})?);
        progress.tick(1, || format!("{name} {accuracy:.1}"));
        let seconds = started.elapsed().as_secs_f64();
        entries.push(AttackResult { name, attack: settings, accuracy, seconds, stages: Vec::new() });
    }
    progress.done("");
    let mut record = EvalRecord {
        model: first.pipeline.name.clone().unwrap_or_default(),
        dataset: foil_runs::data::name(pipeline),
        threat,
        precision: pipeline.train.eval_precision.name().into(),
        device: shown(device),
        seed: pipeline.seed,
        n: test.len() as u64,
        entries,
        worst_case: None,
        corruptions: None,
        trust: Vec::new(),
        avg: None,
        foil_version: foil::VERSION.into(),
        libtorch: foil::LIBTORCH.into(),
        date: stamp::now(),
        config_hash: stamp::config_hash(&pipeline.to_yaml()?),
        weights: Some(stored.digest),
        epoch: card::epochs(&stored.texts),
        images: None,
        digest: None,
    };
    record.write(out).at("writing", out)?;
    Ok(record)
}

/// The settings of the attack that is varied, and its radius.
fn base(loaded: &Loaded) -> Result<(serde_json::Map<String, Value>, f64)> {
    let pipeline = &loaded.pipeline;
    let usable = |name: &String| {
        let settings = serde_json::to_value(pipeline.attacks.get(name)?).ok()?.as_object()?.clone();
        let eps = settings.get("eps")?.as_f64()?;
        (settings.get("steps")?.is_u64() && settings.contains_key("alpha")).then_some((settings, eps))
    };
    pipeline.evaluate.iter().find_map(usable).ok_or_else(|| {
        Error::new("its evaluation has no attack with `eps`, `alpha` and `steps`")
            .help("add one to `evaluate`, such as pgd")
    })
}
