//! A rehearsal: each plugin of a pipeline is run once, on the CPU, on a few made-up images of the
//! data set's shape. It finds what a check of the settings cannot, and what would otherwise show
//! after an epoch: a loss that is detached, logits of the wrong shape, numbers that are not finite,
//! inputs that are changed in place, random numbers that do not follow from the seed.
//!
//! The model is run alone. Attacks are run on a small network in its place, because only the number
//! of their passes is known, not what they are for: AutoAttack makes thousands. The training step
//! is run with the model itself where that is cheap, otherwise with the small network.

mod attack;
mod augment;
mod loss;
mod model;
mod scene;
mod stand_in;
mod step;

use super::Pipeline;
use super::facts::facts;
use foil::Error;
use foil::nn::Mode;
use foil_config::Problem;
use scene::Scene;
use std::collections::BTreeMap;
use tch::Tensor;

/// What a run of a plugin showed: what the plugin does, as in "which returns …", and what to do.
#[derive(Debug, Clone)]
struct Finding {
    message: String,
    help: String,
}

impl Finding {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }

    fn failed(error: Error) -> Self {
        let error = error.placed();
        // Without the part's name, which the problem says, but with the place behind.
        let all = error.message();
        let within = error.part().and_then(|(_, within)| all.find(within)).unwrap_or_default();
        let message = &all[within..];
        Self::new(
            format!("fails when it is run: {message}"),
            error
                .suggestion()
                .unwrap_or("run it alone in a test of its crate: `foil::testing` has images and a small network"),
        )
    }

    fn at(&self, path: &str, name: &str) -> Problem {
        Problem::new(path, format!("`{path}` is `{name}`, which {}", self.message), self.help.as_str())
    }
}

/// Rehearsals of pipelines; a part that several of them have in common is run once.
#[derive(Debug, Default)]
pub struct Rehearsal {
    models: BTreeMap<String, model::Seen>,
    attacks: BTreeMap<String, attack::Seen>,
    augmentations: BTreeMap<String, Option<Finding>>,
    steps: BTreeMap<String, Vec<(&'static str, Finding)>>,
}

impl Rehearsal {
    /// Runs the plugins of a pipeline that can be assembled. No data are read.
    ///
    /// # Errors
    /// All problems found, by key path.
    pub fn of(&mut self, pipeline: &Pipeline) -> Result<(), Vec<Problem>> {
        let data = facts(pipeline).map_err(|problem| vec![problem])?;
        let scene = Scene::new(pipeline, data);
        let mut problems = Vec::new();

        for (i, component) in pipeline.augment.iter().enumerate() {
            let found = self.augmentations.entry(scene.key(&[component]));
            let found = found.or_insert_with(|| augment::look(&scene, component).err());
            problems.extend(found.iter().map(|found| found.at(&format!("augment.{i}"), component.name())));
        }

        let of_model = scene.key(&[&pipeline.model, &pipeline.normalize]);
        let model = self.models.entry(of_model.clone()).or_insert_with(|| model::look(&scene)).clone();
        problems.extend(model.findings.iter().map(|found| found.at("model", pipeline.model.name())));

        let evaluated = pipeline.attacks.iter().map(|(name, attack)| (format!("attacks.{name}"), attack));
        let mut steps = None;
        for (path, component) in std::iter::once(("attack".to_string(), &pipeline.attack)).chain(evaluated) {
            let evaluates = path != "attack";
            let key = format!("{evaluates} {}", scene.key(&[component]));
            let seen = self.attacks.entry(key).or_insert_with(|| attack::look(&scene, component, evaluates));
            let mut found = seen.findings.clone();
            if model.findings.is_empty() {
                let without = |mode: &&Mode| !model.differentiable.contains(mode);
                found.extend(seen.gradients.iter().find(without).map(|mode| no_gradient(pipeline.model.name(), *mode)));
            }
            problems.extend(found.iter().map(|found| found.at(&path, component.name())));
            if path == "attack" {
                steps = Some(seen.clone()).filter(|_| found.is_empty());
            }
        }

        // What follows a part with a fault would report the same fault again.
        if let (Some(attack), true) = (steps, model.findings.is_empty()) {
            let Pipeline { attack: own, loss, optimizer, update, average, averages, networks, augment, .. } = pipeline;
            let parts: [&dyn erased_serde::Serialize; 8] =
                [own, loss, optimizer, update, average, averages, networks, augment];
            let key = of_model + &scene.key(&parts);
            let found = self.steps.entry(key).or_insert_with(|| step::look(&scene, &model, &attack));
            problems.extend(found.iter().map(|(part, found)| found.at(part, name_of(pipeline, part))));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

fn name_of(pipeline: &Pipeline, part: &str) -> &'static str {
    fn name<T: foil::registry::Kind + ?Sized>(part: Option<&foil::registry::Component<T>>) -> &'static str {
        crate::pipeline::networks::name_of(part).unwrap_or_default()
    }
    match part {
        "attack" => pipeline.attack.name(),
        "loss" => pipeline.loss.name(),
        "optimizer" => pipeline.optimizer.name(),
        "update" => name(pipeline.update.as_ref()),
        "average" => name(pipeline.average.as_ref()),
        _ => pipeline.model.name(),
    }
}

fn no_gradient(model: &str, mode: Mode) -> Finding {
    let mode = format!("{mode:?}").to_lowercase();
    let message = format!("takes gradients of the images, but in {mode} mode the model `{model}` has none");
    Finding::new(message, "choose an attack without gradients, such as square; or make the model differentiable")
}

/// Whether every number is finite.
fn is_finite(t: &Tensor) -> bool {
    t.isfinite().all().int64_value(&[]) != 0
}

/// Whether both hold the same numbers; NaN equals NaN.
fn same(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size()
        && a.kind() == b.kind()
        && a.eq_tensor(b).logical_or(&a.isnan().logical_and(&b.isnan())).all().int64_value(&[]) != 0
}
