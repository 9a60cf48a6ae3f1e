//! A checkpoint under its run's attacks, from weights to record.

use super::bars::Bars;
use super::{Options, checkpoint};
use crate::attack::Batch;
use crate::cli::ranks::load_run;
use crate::cli::signals::AtOnce;
use crate::data::Resident;
use crate::distributed::World;
use crate::engine::{choose_for, shown};
use crate::eval::trust::{Depth, Subject};
use crate::eval::{Beating, Saved, Trial, UnderWay};
use crate::interop::METHOD;
use crate::nn::{Noise, key_of, name_key};
use crate::pipeline::{Assembled, Pipeline, assemble, assemble_across, load};
use crate::record::{Entry, EvalRecord, ImageRecord, TrustCheck, atomic, stamp};
use crate::registry::DataFacts;
use crate::scheduler::Clock;
use crate::train::Folder;
use crate::{Error, Result, tensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// Evaluates the checkpoint at `path`, and writes and returns its record. Several ranks share the images; the first one reads and writes.
pub(in crate::cli) fn evaluate(path: &Path, options: &Options, world: World) -> Result<(EvalRecord, PathBuf)> {
    if let Some(out) = options.out.as_deref().filter(|out| atomic::is_stream(out)) {
        return Err(Error::new(format!(
            "--out {} is no file, and beside the record goes a table of the images",
            out.display()
        ))
        .help("name a file"));
    }
    let _ends = AtOnce::new(path)?;
    let (folder, weights) =
        if world.is_first() { checkpoint(path)? } else { (Folder::named(path), path.to_path_buf()) };
    let out = options.out.clone().unwrap_or_else(|| folder.path().join("eval.json"));
    if world.is_first() {
        atomic::probe(&out).map_err(|error| {
            Error::new(format!("the record could not be written: {error}")).help("--out FILE puts it elsewhere")
        })?;
        folder.sweep();
        [out.clone(), ImageRecord::beside(&out), out.with_extension("partial.json")].iter().for_each(atomic::sweep);
    }
    let loaded = load_run(&folder, &options.overrides, world)?;
    let pipeline = &loaded.pipeline;
    let device = choose_for(&pipeline.device, world)?;
    let mut parts = loaded.built(assemble_across(world, pipeline, Kind::Float, device, false))?;
    let network = parts.step.model.network();
    if world.is_first() {
        network.read(&weights)?;
        whose(&tensors::metadata(&weights)?, pipeline, &weights);
    }
    network.params().storage().iter().try_for_each(|(_, tensor)| world.broadcast(tensor))?;
    let limit = pipeline.data.test_limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let test = Resident::new(&crate::data::read(pipeline)?.test, device).first(limit);

    let config = pipeline.to_yaml()?;
    let mut saved = Saved::open_across(world, &out, &config, &weights)?;
    let beating = world.is_first().then(|| Beating::new(folder.path(), shown(device)));
    let other = options.transfer.as_deref().map(|run| other(run, parts.data, device)).transpose()?;
    let (entries, images) = attacked(pipeline, &mut parts, &test, &mut saved, beating)?;
    let mut record = EvalRecord {
        model: pipeline.name.clone().unwrap_or_default(),
        dataset: pipeline.data.name.clone(),
        threat: pipeline.judged_threat(),
        precision: pipeline.train.eval_precision.name().into(),
        device: shown(device),
        seed: pipeline.seed,
        n: test.len() as u64,
        entries,
        worst_case: images.worst_case(),
        trust: Vec::new(),
        avg: None,
        foil_version: crate::VERSION.into(),
        libtorch: crate::LIBTORCH.into(),
        date: stamp::now(),
        config_hash: stamp::config_hash(&config),
    };
    if world.is_first() {
        // The table first: who finds a record finds its images. The record before the checks: no
        // fault of theirs takes it away.
        images.write(&ImageRecord::beside(&out)).map_err(Error::of)?;
        record.write(&out).map_err(Error::of)?;
        saved.finish();
    }
    record.trust = trusted(pipeline, &parts, &test, options.trust, other.as_ref());
    if world.is_first() && !record.trust.is_empty() {
        record.write(&out).map_err(Error::of)?;
    }
    Ok((record, out))
}

/// Warns of weights that fit but were trained otherwise than the pipeline beside them says: the record would call them what they are not.
fn whose(card: &HashMap<String, String>, pipeline: &Pipeline, weights: &Path) {
    let method = pipeline.method();
    if let Some(other) = card.get("foil.method").filter(|other| **other != method && !other.starts_with(METHOD)) {
        let name = card.get("foil.name").map_or("another run", String::as_str);
        tracing::warn!("{} is of {name} ({other}), but resolved.yaml beside it is of {method}", weights.display());
    }
}

/// The network under each of `evaluate`: figures, and what became of each image.
fn attacked(
    pipeline: &Pipeline,
    parts: &mut Assembled,
    test: &Resident,
    saved: &mut Saved,
    mut beating: Option<Beating>,
) -> Result<(Vec<Entry>, ImageRecord)> {
    let (mut entries, mut images) = (Vec::new(), ImageRecord::new(test.index(), test.labels()));
    let (network, all) = (parts.step.model.network(), pipeline.evaluate.len());
    for (number, name) in (1..).zip(&pipeline.evaluate) {
        let attack = parts.attacks.get_mut(name);
        let mut trial = Trial {
            name,
            attack: attack.map(|attack| attack.as_mut() as _),
            data: test,
            batch_size: pipeline.train.eval_batch_size as i64,
            seed: pipeline.seed,
        };
        let mut bars = Bars::new(name, network.world());
        let standing = saved.run(&mut trial, network, &mut |tick| {
            bars.tick(tick);
            beating.iter_mut().for_each(|beating| beating.tick(|| UnderWay::new(name, number, all, tick.standing)));
        })?;
        bars.done(&standing);
        let settings = pipeline.attacks.get(name).map(serde_json::to_value);
        entries.push(standing.entry(name, settings.and_then(Result::ok).unwrap_or_default()));
        images.push(name, standing.right().to_vec(), standing.margins(), &standing.broken_by());
    }
    Ok((entries, images))
}

/// Whether the figures can be believed, from the first images.
fn trusted(
    pipeline: &Pipeline,
    parts: &Assembled,
    test: &Resident,
    depth: Depth,
    other: Option<&Assembled>,
) -> Vec<TrustCheck> {
    let network = parts.step.model.network();
    let device = network.params().device();
    let (few, clock) = (test.first(depth.images(test.len())), Clock::new(1, 1, device));
    let (x, y, index) = few.slice(0, few.len(), Kind::Float);
    let noise = Noise::new(&Tensor::from(key_of(&[pipeline.seed, name_key("trust")])).to_device(device), &index);
    let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
    let subject = Subject {
        network,
        batch: &batch,
        data: parts.data,
        threats: &pipeline.judged_threats(),
        depth,
        other: other.map(|parts| parts.step.model.network()),
    };
    subject.checks()
}

/// Another run's parts, with its weights; it must see the same kind of images.
fn other(run: &Path, data: DataFacts, device: Device) -> Result<Assembled> {
    let (folder, weights) = checkpoint(run)?;
    let loaded = load(&folder.resolved(), &[])?;
    let parts = loaded.built(assemble(&loaded.pipeline, Kind::Float, device, false))?;
    if (DataFacts { train: 0, ..parts.data }) != (DataFacts { train: 0, ..data }) {
        let why = format!("--transfer {}: its images or classes are not those of this run", run.display());
        return Err(Error::new(why).help("give a run on the same data set"));
    }
    parts.step.model.network().read(&weights)?;
    Ok(parts)
}
