//! Whether the parts of a pipeline fit together. Each check reports its problems to the [`Build`].

use super::Pipeline;
use super::provisions::meant;
use crate::eval::{CORRUPTIONS, NATURAL};
use crate::record::Rule;
use foil::attack::Attack;
use foil::engine::{Capture, Network};
use foil::loss::{Forward, Loss};
use foil::nn::Mode;
use foil::registry::Build;
use foil_config::suggest;
use std::collections::BTreeMap;
use tch::Device;

/// The settings that belong to no plugin; `dry` as in [`super::assemble`].
pub(super) fn settings(cx: &Build, pipeline: &Pipeline, device: Device, dry: bool) {
    if let Some(name) = pipeline.name.as_deref().filter(|name| !names_a_folder(name)) {
        let help = "write a name without `/`, such as `AT-2`; --run-dir puts a run anywhere";
        cx.problem("name", format!("is `{name}`, but it names a run's folder"), help);
    }
    if !foil::engine::is_device(&pipeline.device) {
        let message = format!("is `{}`, which is not a device", pipeline.device);
        cx.problem("device", message, "write auto, cpu, cuda or cuda:0");
    }
    if pipeline.train.capture == Capture::On && (pipeline.device == "cpu" || (!dry && !device.is_cuda())) {
        let message = "is `on`, but the run is on the CPU, which has no CUDA graphs";
        cx.problem("train.capture", message, "write `auto`, or leave it out");
    }
    if let Some((key, message, help)) = pipeline.normalize.fault(cx.data.channels) {
        cx.at("normalize").problem(key, message, help);
    }
    if let Some(path) = pipeline.begins_with().filter(|path| dry && !path.is_file()) {
        let message = format!("is {}, which is not a file", path.display());
        cx.problem("init", message, "name a checkpoint, such as runs/at/best.safetensors");
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

/// Whether the attacks can evaluate a model.
pub(super) fn evaluation(cx: &Build, attacks: &BTreeMap<String, Box<dyn Attack>>) {
    for (name, attack) in attacks {
        if attack.needs_clean_logits() {
            let message = "needs a training step's logits of the clean images, so it cannot evaluate a model";
            cx.at("attacks").problem(name, message, "choose another attack, such as `pgd`");
        } else if attack.learning().is_some() {
            let message = "learns or keeps something between steps, so it cannot evaluate a model";
            cx.at("attacks").problem(name, message, "choose another attack, such as `pgd`");
        } else if attack.mode() != Mode::Eval {
            let message = "evaluates the model in train mode, which would move its batch-norm statistics";
            cx.at("attacks").problem(name, message, "write `mode: eval`");
        }
    }
}

/// Whether loss and attack give each other what they need, and the data have enough classes.
pub(super) fn loss_and_attack(cx: &Build, pipeline: &Pipeline, loss: &dyn Loss, attack: &dyn Attack) {
    let data = cx.data;
    let [attack_name, loss_name] = [pipeline.attack.name(), pipeline.loss.name()];
    let provided = attack.provides();
    for need in loss.needs().into_iter().filter(|need| !provided.contains(need)) {
        let message =
            format!("is `{loss_name}`, which needs `{need}`, but the attack `{attack_name}` does not provide that");
        let other = format!("`foil explain loss {loss_name}` shows an attack that goes with it");
        cx.problem("loss", message, meant(need, &provided).unwrap_or(other));
    }
    if attack.needs_clean_logits() && !loss.passes().contains(&Forward::CleanFirst) {
        let message = format!(
            "is `{attack_name}`, which needs logits of the clean images before it runs, but the loss `{loss_name}` \
             does not make them"
        );
        cx.problem("attack", message, format!("`foil explain attack {attack_name}` shows a loss that goes with it"));
    }
    let wrapped = std::iter::successors(attack.inner(), |attack| attack.inner());
    if wrapped.into_iter().any(|inner| inner.learning().is_some_and(|learning| learning.takes_gradient())) {
        let message = format!("is `{attack_name}` around an attack that moves with the gradient of the training");
        cx.problem("attack", message, "that gradient is by the images that are trained on: use it by itself");
    }
    if data.classes < loss.least_classes() {
        let message = format!("needs {} classes, the data have {}", loss.least_classes(), data.classes);
        cx.problem("loss", message, "choose another loss");
    }
}

/// Whether the model is a classifier.
pub(super) fn classifier(cx: &Build, pipeline: &Pipeline, network: &Network) {
    if network.is_mask() {
        let message = format!("is `{}`, which outputs masks, not logits", pipeline.model.name());
        let help = "choose a classifier here; a mask network belongs inside an attack that has a `mask`";
        cx.problem("model", message, help);
    }
}

/// Whether `evaluate`, `train.watch` and `select` name attacks that there are; the selection rule.
pub(super) fn selection(cx: &Build, pipeline: &Pipeline) -> Option<Rule> {
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
        for (i, name) in names.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str())) {
            match key == "evaluate" && name == CORRUPTIONS {
                true => corrupted_images(cx, pipeline, i),
                false => unknown(&format!("{key}.{i}"), name),
            }
        }
    }
    let rule = Rule::parse(&pipeline.select);
    let errors = match &rule {
        Ok(rule) => {
            let rows: Vec<&str> = rule.names().into_iter().filter(|name| is_row(name)).collect();
            rows.iter().for_each(|name| unknown("select", name));
            rule.check(&[&known[..], &rows].concat())
        }
        Err(error) => vec![error.clone()],
    };
    for error in errors {
        cx.problem("select", format!("at {error}"), error.help.as_str());
    }
    rule.ok()
}

/// Whether there are corrupted images for entry `i` of `evaluate`.
fn corrupted_images(cx: &Build, pipeline: &Pipeline, i: usize) {
    if let Err(error) = crate::eval::corruptions(pipeline) {
        let message = format!("is `{CORRUPTIONS}`, but {}", error.message());
        cx.problem(&format!("evaluate.{i}"), message, error.suggestion().unwrap_or_default());
    }
}
