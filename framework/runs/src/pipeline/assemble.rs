//! Builds the parts of a run from a checked pipeline.

mod evaluation;

pub use evaluation::{Evaluated, assemble_evaluation};

use super::facts::{facts, unusable};
use super::{BatchNorm, Pipeline, augment, checks, extra, networks, provisions};
use crate::record::Rule;
use foil::attack::Attack;
use foil::data::Augmentations;
use foil::distinct;
use foil::distributed::World;
use foil::engine::{Learner, Network, Step};
use foil::registry::{Build, DataFacts};
use foil_config::Problem;
use std::cell::RefCell;
use std::collections::BTreeMap;
use tch::{Device, Kind};

/// The parts of a run.
pub struct Assembled {
    /// A training step.
    pub step: Step,
    /// Attacks for selection and evaluation.
    pub attacks: BTreeMap<String, Box<dyn Attack>>,
    /// The names of those of the final evaluation, in order.
    pub evaluate: Vec<String>,
    /// The selection rule.
    pub select: Rule,
    /// Facts about the data.
    pub data: DataFacts,
    /// What is done to training images.
    pub augment: Augmentations,
}

impl std::fmt::Debug for Assembled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, evaluated by {:?}", self.step, self.attacks.keys())
    }
}

impl Assembled {
    /// Refuses a model without trainable parameters, which can only be evaluated.
    ///
    /// # Errors
    /// That problem.
    pub fn trainable(self) -> Result<Self, Vec<Problem>> {
        if self.step.model.network().params().count() > 0 {
            return Ok(self);
        }
        let help = "a traced or frozen program holds its weights as constants: evaluate it with `foil import FILE`, or save \
                    torch.jit.script(net) to train it";
        Err(vec![Problem::new("model", "`model` has no parameters to train", help)])
    }
}

/// The context in which the parts of `pipeline` are built.
pub(super) fn context<'a>(
    pipeline: &'a Pipeline,
    data: DataFacts,
    kind: Kind,
    device: Device,
    problems: &'a RefCell<Vec<Problem>>,
) -> Build<'a> {
    Build::new(data, pipeline.seed, kind, device, problems)
        .within(&pipeline.folder)
        .computing(pipeline.train.precision, pipeline.train.eval_precision)
        .flush_denormal(pipeline.train.flush_denormal)
        .in_batches_of(pipeline.train.batch_size as i64)
        .learning_by(&pipeline.optimizer)
}

/// Builds every part of `pipeline`, and reports all problems.
///
/// With `dry` the networks' tensors are not initialised: enough for `foil check`.
///
/// # Errors
/// All problems, by key path.
pub fn assemble(pipeline: &Pipeline, kind: Kind, device: Device, dry: bool) -> Result<Assembled, Vec<Problem>> {
    assemble_across(World::alone(), pipeline, kind, device, dry)
}

/// As [`assemble`], for one rank of `world`.
///
/// # Errors
/// All problems, by key path.
pub fn assemble_across(
    world: World,
    pipeline: &Pipeline,
    kind: Kind,
    device: Device,
    dry: bool,
) -> Result<Assembled, Vec<Problem>> {
    let problems = RefCell::default();
    let (cx, network) = begin(world, pipeline, kind, device, dry, &problems)?;
    let data = cx.data;
    let optimizer = cx.component("optimizer", &pipeline.optimizer);
    let loss = cx.component("loss", &pipeline.loss);
    let attack = cx.component("attack", &pipeline.attack);
    let update = pipeline.update.as_ref().and_then(|update| cx.component("update", update));
    let augment = augment::built(&cx, pipeline);
    let moments = crate::data::moments(pipeline, dry);
    let usual = [0.0, 1.0].map(|number| vec![number; data.channels as usize]).into();
    let (mean, std) = moments.as_ref().unwrap_or(&usual);
    let prepared = |network: Network| prepared(network, pipeline, [mean, std]);
    let networks = networks::networks(&cx, pipeline, [mean, std]);
    let averages = networks::averages(&cx, pipeline, prepared);
    let attacks = attacks(&cx, pipeline);
    checks::evaluation(&cx, &attacks);
    provisions::evaluation(&cx, &attacks);
    if let (Some(loss), Some(attack)) = (&loss, &attack) {
        checks::loss_and_attack(&cx, pipeline, loss.as_ref(), attack.as_ref());
        provisions::check(&cx, pipeline, loss.as_ref(), attack.as_ref(), update.as_deref());
        augment::check(&cx, pipeline, loss.as_ref(), attack.as_ref(), &augment);
    }
    if let Some(network) = &network {
        checks::classifier(&cx, pipeline, network);
    }
    // Only those who train need the images.
    if dry {
        extra::check(&cx, pipeline, attack.as_deref(), loss.as_deref());
    }
    let select = checks::selection(&cx, pipeline);

    // A mask network with the model's optimiser reports the same problems of it again.
    let problems = distinct(problems.into_inner());
    if let (Err(error), true) = (&moments, problems.is_empty()) {
        return Err(vec![unusable(error)]);
    }
    match (network, optimizer, loss, attack, averages, select) {
        (Some(network), Some(optimizer), Some(loss), Some(attack), Some(averages), Some(select))
            if problems.is_empty() =>
        {
            let model = Learner::new(prepared(network), optimizer).clipping(pipeline.train.clip_grad);
            let names = [pipeline.attack.name(), pipeline.loss.name()];
            let evaluate = pipeline.evaluate.clone();
            let update = update.zip(networks::name_of(pipeline.update.as_ref()));
            let step = Step { update, networks, averages, ..Step::new(model, attack, loss, names) };
            Ok(Assembled { step, attacks, evaluate, select, data, augment })
        }
        _ => Err(problems),
    }
}

/// The context in which one rank of `world` builds the parts of `pipeline`, and the network, which
/// training and evaluation begin with. Settings that no part looks at have been checked.
fn begin<'a>(
    world: World,
    pipeline: &'a Pipeline,
    kind: Kind,
    device: Device,
    dry: bool,
    problems: &'a RefCell<Vec<Problem>>,
) -> Result<(Build<'a>, Option<Network>), Vec<Problem>> {
    if !dry {
        make_deterministic(pipeline, device)?;
    }
    let data = facts(pipeline).map_err(|problem| vec![problem])?;
    let cx = context(pipeline, data, kind, device, problems)
        .dry(dry)
        .across(world, pipeline.train.batch_norm == BatchNorm::Sync);
    checks::settings(&cx, pipeline, device, dry);
    let network = cx.network("model", &pipeline.model, data.channels);
    Ok((cx, network))
}

/// Asks CUDA for the same bits each time, or not.
fn make_deterministic(pipeline: &Pipeline, device: Device) -> Result<(), Vec<Problem>> {
    if !device.is_cuda() {
        return Ok(());
    }
    let deterministic = foil::shim::deterministic(pipeline.train.deterministic);
    deterministic.map_err(|error| vec![Problem::new("train.deterministic", error.message(), "leave it out")])
}

/// The network as the pipeline's own keys want it; mean and standard deviation are the data's.
fn prepared(network: Network, pipeline: &Pipeline, [mean, std]: [&[f64]; 2]) -> Network {
    let network = network.normalized(&pipeline.normalize, mean, std).captured(pipeline.train.capture);
    network.with_norms(pipeline.batch_norm)
}

/// The attacks of selection and evaluation that can be built, by name.
fn attacks(cx: &Build, pipeline: &Pipeline) -> BTreeMap<String, Box<dyn Attack>> {
    let cx = cx.at("attacks");
    let built = pipeline.attacks.iter().map(|(name, attack)| Some((name.clone(), cx.component(name, attack)?)));
    built.flatten().collect()
}
