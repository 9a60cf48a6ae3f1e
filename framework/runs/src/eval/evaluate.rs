//! A run's checkpoint under its pipeline's attacks, from weights to record.

use super::place::{self, default_place};
use super::trust::{Depth, Subject};
use super::{AttackProgress, Corruptions, HeartbeatFile, Images, Saved, Tick, Trial, UnderWay, measure_corruptions};
use crate::interop::METHOD;
use crate::pipeline::{Evaluated, Pipeline, assemble_evaluation, load_to_evaluate};
use crate::record::{AttackResult, EvalRecord, ImageRecord, TrustCheck, card, stamp};
use crate::train::Folder;
use foil::attack::Batch;
use foil::data::Resident;
use foil::distributed::World;
use foil::engine::{Network, choose_for, shown};
use foil::nn::{Noise, key_of, name_key};
use foil::registry::DataFacts;
use foil::scheduler::Clock;
use foil::{Error, Result, atomic, tensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// What an evaluation does besides what the run's pipeline says.
#[derive(Debug, Default)]
pub struct Options {
    /// Overrides of the pipeline, such as `attacks.pgd20.steps=50`.
    pub overrides: Vec<String>,
    /// The file of the record; `None`: in the run's folder.
    pub out: Option<PathBuf>,
    /// How many images the trust checks use.
    pub trust: Depth,
    /// Another run and its checkpoint, whose adversarial images the checks try on this model.
    pub transfer: Option<(Folder, PathBuf)>,
    /// Whether the attacked images are saved beside the record.
    pub save_adversarial: bool,
}

/// Hears of an evaluation's progress.
pub trait Observer {
    /// The attack `name` begins on `images` images.
    fn attack_started(&mut self, name: &str, images: u64) {
        let _ = (name, images);
    }

    /// One more batch is attacked.
    fn batch_done(&mut self, tick: &Tick) {
        let _ = tick;
    }

    /// The attack is over.
    fn attack_ended(&mut self, progress: &AttackProgress) {
        let _ = progress;
    }

    /// The accuracy on a part of the corrupted images, such as `fog@3`, in percent.
    fn part_measured(&mut self, part: &str, accuracy: f64) {
        let _ = (part, accuracy);
    }

    /// Something that the user should know.
    fn note(&mut self, text: &str) {
        tracing::info!("{text}");
    }
}

impl Observer for () {}

/// Evaluates the checkpoint `weights` of the run in `folder`, and writes and returns its record and
/// where it is. Several ranks share the images; the first one reads and writes.
///
/// # Errors
/// When something cannot be read, built or written; it is known before the first attack where that
/// is possible. What was attacked until then is kept, and the next call resumes.
pub fn evaluate(
    folder: &Folder,
    weights: &Path,
    options: &Options,
    world: World,
    observer: &mut dyn Observer,
) -> Result<(EvalRecord, PathBuf)> {
    place::check(options.out.as_deref(), folder, weights, world)?;
    let (loaded, missing) = load_to_evaluate(world, &folder.resolved(), &options.overrides)?;
    missing.iter().for_each(|note| observer.note(note));
    let pipeline = &loaded.pipeline;
    let device = choose_for(&pipeline.device, world)?;
    let mut parts = loaded.built(assemble_evaluation(world, pipeline, Kind::Float, device, false))?;
    let (digest, epoch) = read_weights(&parts.network, pipeline, weights, world)?;
    let limit = pipeline.images.test_limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let test = Resident::new(&crate::data::read(pipeline)?.test, device)?.first(limit);
    let other = options.transfer.as_ref().map(|run| network_of(run, parts.data, device)).transpose()?;

    let default = default_place(folder, weights, pipeline, &digest, test.len() as u64);
    let out = options.out.clone().unwrap_or_else(|| default.clone());
    if world.is_first() {
        folder.sweep();
        [&out, &ImageRecord::beside(&out), &out.with_extension("partial.json")].into_iter().for_each(atomic::sweep);
    }
    let config = pipeline.to_yaml()?;
    let images = (options.save_adversarial && world.is_first())
        .then(|| Images::beside(&out, test.index(), test.labels(), test.shape()))
        .transpose()?;
    let folder_of_images = images.as_ref().map(|images| images.folder().display().to_string());
    let mut saved = Saved::open_across(world, &out, &config, &digest, images)?;
    let mut heartbeat = world.is_first().then(|| HeartbeatFile::new(folder.path(), shown(device)));
    let run = Attacks { pipeline, test: &test, keeps_images: options.save_adversarial };
    let corruptions = corrupted(pipeline, &parts, observer)?;
    let (entries, images) = run.all(&mut parts, &mut saved, &mut heartbeat, observer)?;
    drop(heartbeat);

    let mut record = EvalRecord {
        model: pipeline.name.clone().unwrap_or_default(),
        dataset: crate::data::name(pipeline),
        threat: parts.threat(),
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
        weights: Some(digest),
        epoch,
        images: None,
        digest: None,
    };
    let again = (out == default).then_some(pipeline);
    let out = match world.is_first() {
        true => write(out, folder, again, weights, &mut record, &images, observer)?,
        false => out,
    };
    saved.finish();
    folder_of_images.iter().for_each(|folder| observer.note(&format!("adversarial images: {folder}")));

    record.trust = trust_checks(pipeline, &parts, &test, options.trust, other.as_ref());
    if world.is_first() && !record.trust.is_empty() {
        let _lock = place::lock(folder);
        let is_ours = |now: EvalRecord| (now.weights, now.date) == (record.weights.clone(), record.date.clone());
        if EvalRecord::load(&out).is_ok_and(is_ours) {
            record.write(&out).map_err(Error::of)?;
        }
    }
    Ok((record, out))
}

/// Reads the weights on the first rank, and sends them to all. Returns the digest of the numbers
/// that were read, as training may replace the file meanwhile, and their epoch.
fn read_weights(network: &Network, pipeline: &Pipeline, weights: &Path, world: World) -> Result<(String, u64)> {
    let (mut digest, mut epoch) = (String::new(), 0);
    if world.is_first() {
        let stored = tensors::load(weights)?;
        network.params().load(&stored.tensors).map_err(|e| e.context(weights.display()))?;
        warn_of_another_method(&stored.texts, pipeline, weights);
        (digest, epoch) = (stored.digest, card::epochs(&stored.texts));
    }
    network.params().storage().iter().try_for_each(|(_, tensor)| world.broadcast(tensor))?;
    Ok((digest, epoch))
}

/// Warns of weights that fit, but were trained otherwise than the pipeline beside them says.
fn warn_of_another_method(card: &HashMap<String, String>, pipeline: &Pipeline, weights: &Path) {
    let method = pipeline.method();
    if let Some(other) = card.get("foil.method").filter(|other| **other != method && !other.starts_with(METHOD)) {
        let name = card.get("foil.name").map_or("another run", String::as_str);
        tracing::warn!("{} is of {name} ({other}), but resolved.yaml beside it is of {method}", weights.display());
    }
}

/// Writes the record and the table of its images. With `again` the record's place is chosen again:
/// another evaluation may have ended meanwhile, or training have written newer weights.
fn write(
    mut out: PathBuf,
    folder: &Folder,
    again: Option<&Pipeline>,
    weights: &Path,
    record: &mut EvalRecord,
    images: &ImageRecord,
    observer: &mut dyn Observer,
) -> Result<PathBuf> {
    let _lock = place::lock(folder);
    if let Some(pipeline) = again {
        let digest = record.weights.as_deref().unwrap_or_default();
        out = default_place(folder, weights, pipeline, digest, record.n);
        out = place::beside_newer(out, record, weights, observer)?;
    }
    // The table first: where there is a record, there are its images. The record before the trust
    // checks: if they fail, the record stays.
    record.images = Some(images.write(ImageRecord::beside(&out)).map_err(Error::of)?);
    record.write(&out).map_err(Error::of)?;
    Ok(out)
}

/// The network on corrupted images, where `evaluate` names them.
fn corrupted(pipeline: &Pipeline, parts: &Evaluated, observer: &mut dyn Observer) -> Result<Option<Corruptions>> {
    if !pipeline.evaluates_corruptions() {
        return Ok(None);
    }
    let mut done = |part: &str, accuracy: f64| observer.part_measured(part, accuracy);
    measure_corruptions(pipeline, &parts.network, parts.data, &mut done).map(Some)
}

/// The attacks of an evaluation.
struct Attacks<'a> {
    pipeline: &'a Pipeline,
    test: &'a Resident,
    keeps_images: bool,
}

impl Attacks<'_> {
    /// The network under each of `evaluate`: its accuracy, and what became of each image.
    fn all(
        &self,
        parts: &mut Evaluated,
        saved: &mut Saved,
        heartbeat: &mut Option<HeartbeatFile>,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<AttackResult>, ImageRecord)> {
        let (pipeline, test) = (self.pipeline, self.test);
        let (mut entries, mut images) = (Vec::new(), ImageRecord::new(test.index(), test.labels()));
        let (network, all) = (&parts.network, pipeline.evaluated().count());
        for (number, name) in (1..).zip(pipeline.evaluated()) {
            let attack = parts.attacks.get_mut(name);
            let mut trial = Trial {
                name,
                attack: attack.map(|attack| attack.as_mut() as _),
                data: test,
                batch_size: pipeline.train.eval_batch_size as i64,
                seed: pipeline.seed,
                keeps_images: self.keeps_images,
            };
            observer.attack_started(name, test.len() as u64);
            let progress = saved.run(&mut trial, network, &mut |tick| {
                observer.batch_done(tick);
                let under_way = || UnderWay::new(name, number, all, tick.progress);
                heartbeat.iter_mut().for_each(|heartbeat| heartbeat.tick(under_way));
            })?;
            observer.attack_ended(&progress);
            let settings = pipeline.attacks.get(name).map(serde_json::to_value);
            entries.push(progress.entry(name, settings.and_then(Result::ok).unwrap_or_default()));
            images.push(name, progress.right().to_vec(), progress.margins(), &progress.broken_by());
        }
        Ok((entries, images))
    }
}

/// Whether the accuracies can be trusted, from the first images.
fn trust_checks(
    pipeline: &Pipeline,
    parts: &Evaluated,
    test: &Resident,
    depth: Depth,
    other: Option<&Network>,
) -> Vec<TrustCheck> {
    let network = &parts.network;
    let device = network.params().device();
    let (few, clock) = (test.first(depth.images(test.len())), Clock::new(1, 1, device));
    let (x, y, index) = few.slice(0, few.len(), Kind::Float);
    let noise = Noise::new(&Tensor::from(key_of(&[pipeline.seed, name_key("trust")])).to_device(device), &index);
    let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
    let subject = Subject { network, batch: &batch, data: parts.data, threats: &parts.threats(), depth, other };
    subject.checks()
}

/// Another run's network, with its weights; it must see the same kind of images.
fn network_of((folder, weights): &(Folder, PathBuf), data: DataFacts, device: Device) -> Result<Network> {
    let (loaded, _) = load_to_evaluate(World::alone(), &folder.resolved(), &[])?;
    let parts = loaded.built(assemble_evaluation(World::alone(), &loaded.pipeline, Kind::Float, device, false))?;
    if (DataFacts { train: 0, ..parts.data }) != (DataFacts { train: 0, ..data }) {
        let why = format!("--transfer {}: its images or classes differ from this run's", folder.path().display());
        return Err(Error::new(why).help("give a run on the same data set"));
    }
    parts.network.read(weights)?;
    Ok(parts.network)
}
