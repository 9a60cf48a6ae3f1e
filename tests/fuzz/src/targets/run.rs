//! A run's folder as training and evaluation leave it, made without either.

use super::{root, scratch};
use foil::{AtPath, Error, Result, tensors};
use foil_runs::pipeline::load;
use foil_runs::record::{
    AttackResult, Best, EvalRecord, ImageRecord, MetricsLog, Norm, Row, Stage, Threat, TrustCheck, Values,
};
use foil_runs::record::{metrics, stamp};
use std::collections::HashMap;
use std::path::Path;
use tch::Tensor;
use tempfile::TempDir;

/// Epochs that the run has done.
const EPOCHS: u64 = 3;

/// Makes a folder with a run in `run/`.
pub fn made() -> TempDir {
    let place = scratch();
    write(&place.path().join("run")).unwrap_or_else(|error| panic!("{error}"));
    place
}

fn write(run: &Path) -> Result<()> {
    std::fs::create_dir(run).at("making", run)?;
    let epochs = format!("train.epochs={EPOCHS}");
    let loaded = load(&root().join("configs/smoke/trades.yaml"), &[epochs, "name=made".into()])?;
    let pipeline = loaded.pipeline;
    std::fs::write(run.join("resolved.yaml"), pipeline.to_yaml()?).at("writing", run)?;

    let mut log = MetricsLog::open(run).map_err(Error::of)?;
    for epoch in 1..=EPOCHS {
        let n = epoch as f64;
        let values = [("train_loss", 2.0 / n), ("lr", 0.1), ("natural", 90.0 + n / 8.0), ("pgd10", 40.0 + n)];
        let values: Values = values.map(|(name, value)| (name.to_string(), value)).into();
        log.append(Row { epoch, step: 4 * epoch, values }).map_err(Error::of)?;
    }
    let weights = [("0.weight".to_string(), Tensor::from_slice(&[1f32, 2.0]))];
    let card = |more: (&str, String)| HashMap::from([("foil.epochs".into(), "3".into()), (more.0.into(), more.1)]);
    let best = run.join("best.safetensors");
    tensors::write(&best, &weights, card(("foil.name", "made".into())))?;
    let seen = metrics::digest(log.rows(), EPOCHS).map_err(Error::of)?;
    let position = serde_json::json!({
        "config": "", "epoch": EPOCHS, "step": 0, "tallied": 0, "best": Best::default(), "metrics": seen,
    });
    tensors::write(&run.join("state.safetensors"), &weights, card(("foil.position", position.to_string())))?;

    let names = ["natural", "fgsm", "autoattack"];
    let mut images = ImageRecord::new((0..20).collect(), (0..20).map(|n| n % 10).collect());
    for (n, name) in names.iter().enumerate() {
        let right: Vec<bool> = (0..20).map(|image| image % 7 >= n).collect();
        let stages: Vec<Option<String>> = right.iter().map(|right| (!right).then(|| "square".into())).collect();
        let stages = if *name == "autoattack" { stages } else { Vec::new() };
        images.push(name, right, (0..20).map(|image| image as f32 / 4.0).collect(), &stages);
    }
    let entry = |(n, name): (usize, &&str)| AttackResult {
        name: (*name).to_string(),
        attack: if n == 0 { serde_json::Value::Null } else { serde_json::json!({ "type": name, "eps": 0.3 }) },
        accuracy: 95.0 - 15.0 * n as f64,
        seconds: 1.5,
        stages: if n == 2 {
            vec![Stage { name: "square".into(), accuracy: 65.0, broken: 3, seconds: 1.0 }]
        } else {
            Vec::new()
        },
    };
    let check =
        TrustCheck { name: "zero_gradients".into(), passed: Some(true), value: 0.0, limit: 1.0, says: "none".into() };
    let mut record = EvalRecord {
        model: "made".into(),
        dataset: foil_runs::data::name(&pipeline),
        threat: Threat { norm: Norm::Linf, eps: 0.3 },
        precision: "fp32".into(),
        device: "cpu".into(),
        seed: 0,
        n: 20,
        entries: names.iter().enumerate().map(entry).collect(),
        worst_case: images.worst_case(),
        corruptions: None,
        trust: vec![check],
        avg: None,
        foil_version: foil::VERSION.into(),
        libtorch: foil::LIBTORCH.into(),
        date: "2026-11-30T00:00:00Z".into(),
        config_hash: stamp::config_hash(""),
        weights: Some(tensors::digest(&best)?),
        epoch: EPOCHS,
        images: None,
        digest: None,
    };
    let path = run.join("eval.json");
    record.images = Some(images.write(ImageRecord::beside(&path)).map_err(Error::of)?);
    record.write(&path).map_err(Error::of)?;
    record.write(run.join("curves.json")).map_err(Error::of)?;
    let beat = serde_json::json!({
        "pid": 1, "device": "cpu", "epoch": 3, "epochs": 3, "step": 1, "steps": 4, "measuring": false,
        "under_way": null, "values": { "train_loss": 0.5 }, "seconds_left": 12.5,
    });
    std::fs::write(run.join("heartbeat.json"), beat.to_string()).at("writing", run)
}
