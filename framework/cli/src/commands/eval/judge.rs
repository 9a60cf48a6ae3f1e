//! A checkpoint under its run's attacks, from weights to record.

use super::bars::Bars;
use super::{Options, checkpoint};
use crate::commands::note;
use crate::commands::ranks::load_run;
use crate::commands::signals::AtOnce;
use foil::atomic;
use foil::attack::Batch;
use foil::data::Resident;
use foil::distributed::World;
use foil::engine::{choose_for, shown};
use foil::nn::{Noise, key_of, name_key};
use foil::registry::DataFacts;
use foil::scheduler::Clock;
use foil::{Error, Result, tensors};
use foil_runs::eval::trust::{Depth, Subject};
use foil_runs::eval::{Beating, Corruptions, Images, Saved, Trial, UnderWay, measure_corruptions};
use foil_runs::interop::METHOD;
use foil_runs::pipeline::{Assembled, Pipeline, assemble, assemble_across, load};
use foil_runs::record::evaluations::FIRST;
use foil_runs::record::{Entry, EvalRecord, ImageRecord, TrustCheck, card, stamp};
use foil_runs::train::Folder;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// Evaluates the checkpoint at `path`, and writes and returns its record. Several ranks share the images; the first one reads and writes.
pub(in crate::commands) fn evaluate(path: &Path, options: &Options, world: World) -> Result<(EvalRecord, PathBuf)> {
    if let Some(out) = options.out.as_deref().filter(|out| atomic::is_stream(out)) {
        return Err(Error::new(format!(
            "--out {} is not a file, and a table of the images goes beside the record",
            out.display()
        ))
        .help("name a file"));
    }
    let _ends = AtOnce::new(path)?;
    let (folder, weights) =
        if world.is_first() { checkpoint(path)? } else { (Folder::named(path), path.to_path_buf()) };
    if world.is_first() {
        let out = options.out.clone().unwrap_or_else(|| first(&folder, &weights));
        atomic::probe(&out).map_err(|error| {
            Error::new(format!("the record could not be written: {error}")).help("--out FILE puts it elsewhere")
        })?;
    }
    let loaded = load_run(&folder, &options.overrides, world)?;
    let pipeline = &loaded.pipeline;
    let device = choose_for(&pipeline.device, world)?;
    let mut parts = loaded.built(assemble_across(world, pipeline, Kind::Float, device, false))?;
    let network = parts.step.model.network();
    let (mut judged, mut epoch) = (String::new(), 0);
    if world.is_first() {
        // Training may replace the file meanwhile: the digest is of the numbers that were read.
        let stored = tensors::load(&weights)?;
        network.params().load(&stored.tensors).map_err(|e| e.context(weights.display()))?;
        whose(&stored.texts, pipeline, &weights);
        (judged, epoch) = (stored.digest, card::epochs(&stored.texts));
    }
    let limit = pipeline.images.test_limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let test = Resident::new(&foil_runs::data::read(pipeline)?.test, device).first(limit);
    let images = test.len() as u64;
    let usual_now = usual(&folder, &weights, pipeline, &judged, images);
    let mut out = options.out.clone().unwrap_or_else(|| usual_now.clone());
    if world.is_first() {
        folder.sweep();
        [out.clone(), ImageRecord::beside(&out), out.with_extension("partial.json")].iter().for_each(atomic::sweep);
    }
    network.params().storage().iter().try_for_each(|(_, tensor)| world.broadcast(tensor))?;
    let config = pipeline.to_yaml()?;
    let keeps = options.save_adversarial;
    let images = (keeps && world.is_first())
        .then(|| Images::beside(&out, test.index(), test.labels(), test.shape()))
        .transpose()?;
    let folder_of_images = images.as_ref().map(|images| images.folder().display().to_string());
    let mut saved = Saved::open_across(world, &out, &config, &judged, images)?;
    let beating = world.is_first().then(|| Beating::new(folder.path(), shown(device)));
    let other = options.transfer.as_deref().map(|run| other(run, parts.data, device)).transpose()?;
    let corruptions = corrupted(pipeline, &parts, world)?;
    let (entries, images) = attacked(pipeline, &mut parts, &test, keeps, &mut saved, beating)?;
    let mut record = EvalRecord {
        model: pipeline.name.clone().unwrap_or_default(),
        dataset: foil_runs::data::name(pipeline),
        threat: parts.judged_threat(),
        precision: pipeline.train.eval_precision.name().into(),
        device: shown(device),
        seed: pipeline.seed,
        n: test.len() as u64,
        entries,
        worst_case: images.worst_case(),
        corruptions,
        trust: Vec::new(),
        avg: None,
        foil_version: foil::VERSION.into(),
        libtorch: foil::LIBTORCH.into(),
        date: stamp::now(),
        config_hash: stamp::config_hash(&config),
        weights: Some(judged),
        epoch,
        images: None,
        digest: None,
    };
    // Another evaluation of this run may end at this moment.
    let turn = || std::fs::File::open(folder.path()).and_then(|file| file.lock().map(|()| file));
    if world.is_first() {
        let _turn = turn();
        if out == usual_now {
            // Another evaluation may have ended meanwhile, or training have gone on.
            out = usual(&folder, &weights, pipeline, record.weights.as_deref().unwrap_or_default(), record.n);
            out = free_of_newer(out, &record, &weights)?;
        }
        // The table first: who finds a record finds its images. The record before the checks: no
        // fault of theirs takes it away.
        record.images = Some(images.write(ImageRecord::beside(&out)).map_err(Error::of)?);
        record.write(&out).map_err(Error::of)?;
        saved.finish();
        folder_of_images.iter().for_each(|folder| eprintln!("adversarial images: {folder}"));
    }
    record.trust = trusted(pipeline, &parts, &test, options.trust, other.as_ref());
    if world.is_first() && !record.trust.is_empty() {
        let _turn = turn();
        let is_ours = |now: EvalRecord| (now.weights, now.date) == (record.weights.clone(), record.date.clone());
        if EvalRecord::load(&out).is_ok_and(is_ours) {
            record.write(&out).map_err(Error::of)?;
        }
    }
    Ok((record, out))
}

/// The usual name of a checkpoint's record.
fn first(folder: &Folder, weights: &Path) -> PathBuf {
    match weights.file_stem().filter(|_| weights.file_name() != folder.best().file_name()) {
        Some(stem) => folder.path().join(format!("{}.eval.json", stem.display())),
        None => folder.path().join(FIRST),
    }
}

/// Where the record of a checkpoint goes: `eval.json` for the best one, `last.eval.json` for
/// last.safetensors. Where that is of these weights but of other attacks or images, it stays, and
/// this one is `eval.HASH.json`.
fn usual(folder: &Folder, weights: &Path, pipeline: &Pipeline, judged: &str, images: u64) -> PathBuf {
    let usual = first(folder, weights);
    let is_other =
        |record: EvalRecord| record.weights.as_deref() == Some(judged) && !pipeline.is_judged_by(&record, images);
    match EvalRecord::load(&usual).is_ok_and(is_other) {
        true => usual.with_extension(format!("{}.json", pipeline.judge_hash(images))),
        false => usual,
    }
}

/// `out`, or another place where that has the record of newer weights: training went on
/// meanwhile.
fn free_of_newer(out: PathBuf, record: &EvalRecord, weights: &Path) -> Result<PathBuf> {
    let Some(why) = record.outdated(weights)? else { return Ok(out) };
    let stands = EvalRecord::load(&out).is_ok_and(|other| {
        let current = other.weights.is_some() && other.outdated(weights).is_ok_and(|outdated| outdated.is_none());
        other.weights != record.weights && (current || other.epoch > record.epoch)
    });
    note(format!("this evaluation is {why}"));
    if !stands {
        return Ok(out);
    }
    let beside = out.with_extension(format!("epoch{}.json", record.epoch));
    eprintln!("note: {} is from newer weights and is kept; this record goes beside it", out.display());
    Ok(beside)
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
    keeps_images: bool,
    saved: &mut Saved,
    mut beating: Option<Beating>,
) -> Result<(Vec<Entry>, ImageRecord)> {
    let (mut entries, mut images) = (Vec::new(), ImageRecord::new(test.index(), test.labels()));
    let (network, all) = (parts.step.model.network(), pipeline.evaluated().count());
    for (number, name) in (1..).zip(pipeline.evaluated()) {
        let attack = parts.attacks.get_mut(name);
        let mut trial = Trial {
            name,
            attack: attack.map(|attack| attack.as_mut() as _),
            data: test,
            batch_size: pipeline.train.eval_batch_size as i64,
            seed: pipeline.seed,
            keeps_images,
        };
        let mut bars = Bars::new(name, test.len() as u64, network.world());
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

/// The network on corrupted images, where `evaluate` names them.
fn corrupted(pipeline: &Pipeline, parts: &Assembled, world: World) -> Result<Option<Corruptions>> {
    if !pipeline.evaluates_corruptions() {
        return Ok(None);
    }
    let mut shown = |part: &str, accuracy: f64| {
        if world.is_first() {
            eprintln!("{part}: {accuracy:.2}");
        }
    };
    measure_corruptions(pipeline, parts.step.model.network(), parts.data, &mut shown).map(Some)
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
        threats: &parts.judged_threats(),
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
        let why = format!("--transfer {}: its images or classes differ from this run's", run.display());
        return Err(Error::new(why).help("give a run on the same data set"));
    }
    parts.step.model.network().read(&weights)?;
    Ok(parts)
}
