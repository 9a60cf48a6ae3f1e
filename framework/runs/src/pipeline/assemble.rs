//! Builds the parts of a run from a checked pipeline, and checks that they fit together.

use super::{BatchNorm, Pipeline};
use crate::eval::{CORRUPTIONS, NATURAL};
use crate::record::Rule;
use foil::attack::Attack;
use foil::distributed::World;
use foil::engine::{Capture, Learner, Step};
use foil::loss::{Forward, Loss};
use foil::nn::Mode;
use foil::optim::Optimizer;
use foil::registry::{Build, Component, DataFacts, Kind as Registered};
use foil_config::{Problem, suggest};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
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
        write!(f, "{:?}, judged by {:?}", self.step, self.attacks.keys())
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

/// Whether a folder can have this name.
fn names_a_folder(name: &str) -> bool {
    !name.trim().is_empty()
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\'])
        && !name.contains(char::is_control)
}

/// Shape and size of the data set that a pipeline names, without reading it.
pub(super) fn facts(pipeline: &Pipeline) -> Result<DataFacts, Problem> {
    let facts = crate::data::facts(pipeline).map_err(|error| unusable(&error))?;
    let lacking = |what: &str, help: &str| {
        Err(Problem::new("data", format!("`data` is `{}`, which has no {what} images", pipeline.data.name()), help))
    };
    if facts.counts.train == 0 {
        return lacking("training", "a set to evaluate on belongs under `corruptions`");
    }
    if facts.counts.test == 0 {
        return lacking("test", "name some: a run is evaluated on them");
    }
    let known = DataFacts::from(&facts);
    let limit = pipeline.images.train_limit.map_or(known.train, |limit| limit.min(known.train as u64) as i64);
    if pipeline.images.validation >= limit as u64 {
        return Err(Problem::new(
            "images.validation",
            format!("`images.validation` holds out {} of {limit} training images", pipeline.images.validation),
            "hold out fewer, so that some are left to train on",
        ));
    }
    let images = limit as u64 - pipeline.images.validation;
    if pipeline.train.steps(images) == 0 {
        let size = pipeline.train.batch_size;
        return Err(Problem::new(
            "train.drop_last",
            format!("`train.drop_last` leaves nothing of {images} training images in batches of {size}"),
            "write a smaller `batch_size`",
        ));
    }
    Ok(DataFacts { train: limit, ..known })
}

fn unusable(error: &foil::Error) -> Problem {
    let help = error.suggestion().unwrap_or_default();
    Problem::new("data", format!("`data` cannot be used: {}", error.message()), help)
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

/// What can be said of a file that has problems: those of the whole if it can be read without them,
/// otherwise those of each part that can be read.
pub(crate) fn more_problems(rest: &serde_yaml::Value, known: &[Problem]) -> Vec<Problem> {
    // A section whose name is misspelt is missing, and what refers to it would look wrong.
    let whole = known.iter().all(|problem| problem.path.contains('.'));
    let mut problems = match serde_yaml::from_value::<Pipeline>(rest.clone()) {
        Ok(pipeline) if whole => assemble(&pipeline, Kind::Float, Device::Cpu, true).err().unwrap_or_default(),
        _ => problems_of_parts(rest),
    };
    // The file's folder is not known here, so files that it names cannot be found.
    problems.retain(|problem| {
        !["init", "data"].contains(&problem.path.as_str()) && !problem.message.contains("cannot be built: ")
    });
    problems
}

fn problems_of_parts(rest: &serde_yaml::Value) -> Vec<Problem> {
    fn part<T: Registered + ?Sized>(cx: &Build, key: &str, value: Option<&serde_yaml::Value>) {
        let read = value.and_then(|value| serde_yaml::from_value::<Component<T>>(value.clone()).ok());
        if let Some(component) = read {
            let _ = cx.component(key, &component);
        }
    }
    let data = rest.get("data").and_then(|value| serde_yaml::from_value::<Component<_>>(value.clone()).ok());
    let known = data.and_then(|data| crate::data::facts_of(&data, Path::new("")).ok());
    let Some(data) = known.as_ref().map(DataFacts::from) else { return Vec::new() };
    let problems = RefCell::<Vec<Problem>>::default();
    let optimizer = rest.get("optimizer").and_then(|value| serde_yaml::from_value(value.clone()).ok());
    let cx = Build::new(data, 0, Kind::Float, Device::Cpu, &problems).dry(true);
    let cx = optimizer.as_ref().map_or(cx.at(""), |optimizer| cx.at("").learning_by(optimizer));
    let model = rest.get("model").and_then(|value| serde_yaml::from_value(value.clone()).ok());
    if let Some(model) = model {
        let _ = cx.network("model", &model, data.channels);
    }
    part::<dyn Attack>(&cx, "attack", rest.get("attack"));
    part::<dyn Loss>(&cx, "loss", rest.get("loss"));
    part::<dyn Optimizer>(&cx, "optimizer", rest.get("optimizer"));
    for (name, attack) in rest.get("attacks").and_then(serde_yaml::Value::as_mapping).into_iter().flatten() {
        part::<dyn Attack>(&cx.at("attacks"), name.as_str().unwrap_or_default(), Some(attack));
    }
    problems.into_inner()
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
    if device.is_cuda()
        && !dry
        && let Err(error) = foil::shim::deterministic(pipeline.train.deterministic)
    {
        return Err(vec![Problem::new("train.deterministic", error.message().to_string(), "leave it out")]);
    }
    let problems = RefCell::<Vec<Problem>>::default();
    if let Some(name) = pipeline.name.as_deref().filter(|name| !names_a_folder(name)) {
        let message = format!("`name` is `{name}`, but it names a run's folder");
        let help = "write a name without `/`, such as `AT-2`; --run-dir puts a run anywhere";
        problems.borrow_mut().push(Problem::new("name", message, help));
    }
    let data = match facts(pipeline) {
        Ok(data) => data,
        Err(problem) => return Err(vec![problem]),
    };
    let cx = context(pipeline, data, kind, device, &problems)
        .dry(dry)
        .across(world, pipeline.train.batch_norm == BatchNorm::Sync);

    if !foil::engine::is_device(&pipeline.device) {
        cx.problem(
            "device",
            format!("is `{}`, which is not a device", pipeline.device),
            "write auto, cpu, cuda or cuda:0",
        );
    }
    if pipeline.train.capture == Capture::On && (pipeline.device == "cpu" || (!dry && !device.is_cuda())) {
        cx.problem(
            "train.capture",
            "is `on`, but the run is on the CPU, which has no CUDA graphs",
            "write `auto`, or leave it out",
        );
    }
    if let Some((key, message, help)) = pipeline.normalize.fault(data.channels) {
        cx.at("normalize").problem(key, message, help);
    }
    if let Some(path) = pipeline.begins_with().filter(|path| dry && !path.is_file()) {
        cx.problem(
            "init",
            format!("is {}, which is not a file", path.display()),
            "name a checkpoint, such as runs/at/best.safetensors",
        );
    }
    let network = cx.network("model", &pipeline.model, data.channels);
    let optimizer = cx.component("optimizer", &pipeline.optimizer);
    let loss = cx.component("loss", &pipeline.loss);
    let attack = cx.component("attack", &pipeline.attack);
    let attacks: BTreeMap<String, Box<dyn Attack>> = pipeline
        .attacks
        .iter()
        .filter_map(|(name, component)| Some((name.clone(), cx.at("attacks").component(name, component)?)))
        .collect();

    for (name, attack) in &attacks {
        if attack.needs_clean_logits() {
            cx.at("attacks").problem(
                name,
                "needs a training step's logits of the clean images, so it cannot evaluate a model",
                "choose another attack, such as `pgd`",
            );
        } else if attack.mode() != Mode::Eval {
            cx.at("attacks").problem(
                name,
                "evaluates the model in train mode, which would move its batch-norm statistics",
                "write `mode: eval`",
            );
        }
    }
    if let (Some(loss), Some(attack)) = (&loss, &attack) {
        let provided = attack.provides();
        for need in loss.needs().into_iter().filter(|need| !provided.contains(need)) {
            cx.problem(
                "loss",
                format!(
                    "is `{}`, which needs `{need}`, but the attack `{}` does not provide that",
                    pipeline.loss.name(),
                    pipeline.attack.name()
                ),
                format!("`foil explain loss {}` shows an attack that goes with it", pipeline.loss.name()),
            );
        }
        if attack.needs_clean_logits() && !loss.passes().contains(&Forward::CleanFirst) {
            cx.problem(
                "attack",
                format!(
                    "is `{}`, which needs logits of the clean images before it runs, but the loss `{}` does not make them",
                    pipeline.attack.name(),
                    pipeline.loss.name()
                ),
                format!("`foil explain attack {}` shows a loss that goes with it", pipeline.attack.name()),
            );
        }
        if data.classes < loss.least_classes() {
            cx.problem(
                "loss",
                format!("needs {} classes, the data have {}", loss.least_classes(), data.classes),
                "choose another loss",
            );
        }
    }
    if network.as_ref().is_some_and(foil::engine::Network::is_mask) {
        cx.problem(
            "model",
            format!("is `{}`, which outputs masks, not logits", pipeline.model.name()),
            "choose a classifier here; a mask network belongs inside an attack that has a `mask`",
        );
    }

    let mut known: Vec<&str> = pipeline.attacks.keys().map(String::as_str).collect();
    known.push(NATURAL);
    let is_row = |name: &str| known.iter().any(|known| known.split_once('@').is_some_and(|(row, _)| row == name));
    let unknown = |key: &str, name: &str| {
        if is_row(name) {
            let help = "name an attack at one radius here, and give the row a name of its own";
            return cx.problem(key, format!("is `{name}`, which is a row of several radii"), help);
        }
        let help = suggest(name, &known, "defined attacks");
        cx.problem(key, format!("is `{name}`, which is not defined under `attacks`"), help);
    };
    for (key, names) in [("evaluate", &pipeline.evaluate), ("train.watch", &pipeline.train.watch)] {
        let is_other = |name: &str| key == "evaluate" && name == CORRUPTIONS;
        for (i, name) in names.iter().enumerate() {
            if known.contains(&name.as_str()) {
                continue;
            }
            if is_other(name) {
                if let Err(error) = crate::eval::corruptions(pipeline) {
                    let help = error.suggestion().unwrap_or_default();
                    cx.problem(&format!("{key}.{i}"), format!("is `{name}`, but {}", error.message()), help);
                }
                continue;
            }
            unknown(&format!("{key}.{i}"), name);
        }
    }
    let select = match Rule::parse(&pipeline.select) {
        Ok(rule) => {
            let rows: Vec<&str> = rule.names().into_iter().filter(|name| is_row(name)).collect();
            rows.iter().for_each(|name| unknown("select", name));
            for error in rule.check(&[&known[..], &rows].concat()) {
                cx.problem("select", format!("at {error}"), error.help.as_str());
            }
            Some(rule)
        }
        Err(error) => {
            cx.problem("select", format!("at {error}"), error.help.as_str());
            None
        }
    };

    let built = (network, optimizer, loss, attack, select);
    let mut problems = problems.into_inner();
    // A mask network with the model's optimiser reports the same problems of it again.
    let mut told = Vec::new();
    problems.retain(|problem| {
        !told.contains(problem) && {
            told.push(problem.clone());
            true
        }
    });
    match built {
        (Some(network), Some(optimizer), Some(loss), Some(attack), Some(select)) if problems.is_empty() => {
            let (mean, std) = crate::data::moments(pipeline, dry).map_err(|error| vec![unusable(&error)])?;
            let network = network.normalized(&pipeline.normalize, &mean, &std).captured(pipeline.train.capture);
            let model = Learner::new(network, optimizer);
            let names = [pipeline.attack.name(), pipeline.loss.name()];
            let evaluate = pipeline.evaluate.clone();
            Ok(Assembled { step: Step { model, attack, loss, names }, attacks, evaluate, select, data })
        }
        _ => Err(problems),
    }
}
