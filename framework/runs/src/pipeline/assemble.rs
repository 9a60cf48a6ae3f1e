//! Builds the parts of a run from a checked pipeline.

use super::facts::{facts, unusable};
use super::{BatchNorm, Pipeline, checks};
use crate::record::Rule;
use foil::attack::Attack;
use foil::distinct;
use foil::distributed::World;
use foil::engine::{Learner, Step};
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
    if device.is_cuda() && !dry {
        let deterministic = foil::shim::deterministic(pipeline.train.deterministic);
        deterministic.map_err(|error| vec![Problem::new("train.deterministic", error.message(), "leave it out")])?;
    }
    let data = facts(pipeline).map_err(|problem| vec![problem])?;
    let problems = RefCell::default();
    let cx = context(pipeline, data, kind, device, &problems)
        .dry(dry)
        .across(world, pipeline.train.batch_norm == BatchNorm::Sync);

    checks::settings(&cx, pipeline, device, dry);
    let network = cx.network("model", &pipeline.model, data.channels);
    let optimizer = cx.component("optimizer", &pipeline.optimizer);
    let loss = cx.component("loss", &pipeline.loss);
    let attack = cx.component("attack", &pipeline.attack);
    let attacks = attacks(&cx, pipeline);
    checks::evaluation(&cx, &attacks);
    if let (Some(loss), Some(attack)) = (&loss, &attack) {
        checks::loss_and_attack(&cx, pipeline, loss.as_ref(), attack.as_ref());
    }
    if let Some(network) = &network {
        checks::classifier(&cx, pipeline, network);
    }
    let select = checks::selection(&cx, pipeline);

    // A mask network with the model's optimiser reports the same problems of it again.
    let problems = distinct(problems.into_inner());
    match (network, optimizer, loss, attack, select) {
        (Some(network), Some(optimizer), Some(loss), Some(attack), Some(select)) if problems.is_empty() => {
            let (mean, std) = crate::data::moments(pipeline, dry).map_err(|error| vec![unusable(&error)])?;
            let network = network.normalized(&pipeline.normalize, &mean, &std).captured(pipeline.train.capture);
            let network = network.with_norms(pipeline.batch_norm);
            let model = Learner::new(network, optimizer).clipping(pipeline.train.clip_grad);
            let names = [pipeline.attack.name(), pipeline.loss.name()];
            let evaluate = pipeline.evaluate.clone();
            Ok(Assembled { step: Step { model, attack, loss, names }, attacks, evaluate, select, data })
        }
        _ => Err(problems),
    }
}

/// The attacks of selection and evaluation that can be built, by name.
fn attacks(cx: &Build, pipeline: &Pipeline) -> BTreeMap<String, Box<dyn Attack>> {
    let cx = cx.at("attacks");
    let built = pipeline.attacks.iter().map(|(name, attack)| Some((name.clone(), cx.component(name, attack)?)));
    built.flatten().collect()
}
