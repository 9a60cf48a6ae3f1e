//! What TensorBoard is given besides an epoch's curves: hyper-parameters, steps and attacked
//! images.

use super::Trainer;
use crate::eval::{NATURAL, Trial};
use crate::pipeline::Pipeline;
use crate::record::Png;
use crate::train::describe::tag;
use foil::data::Resident;
use foil::engine::Outcome;
use foil::{AtPath, Result};
use serde_json::Value;
use tch::{Kind, Tensor};

/// Keys of a pipeline that say nothing of how it is trained.
const OTHER: [&str; 9] = ["name", "plugins", "device", "attacks", "select", "evaluate", "corruptions", "log", "sweep"];

/// Every key of the training and its value, as in `optimizer.lr`.
fn hyper_parameters(pipeline: &Pipeline) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (key, value) in serde_json::to_value(pipeline).ok().as_ref().and_then(Value::as_object).into_iter().flatten() {
        if !OTHER.contains(&key.as_str()) {
            leaves(key.clone(), value, &mut all);
        }
    }
    all
}

/// A component's name is the value of its own key: `loss` is `trades`.
fn leaves(path: String, value: &Value, all: &mut Vec<(String, Value)>) {
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                let inner = if key == "type" { path.clone() } else { format!("{path}.{key}") };
                leaves(inner, value, all);
            }
        }
        value => all.push((path, value.clone())),
    }
}

impl Trainer {
    /// Writes the run's hyper-parameters.
    pub(super) fn log_start(&mut self) -> Result<()> {
        let metrics: Vec<String> = self.watched().iter().map(|name| tag(name)).collect();
        let Some(curves) = &mut self.curves else { return Ok(()) };
        let values = hyper_parameters(&self.pipeline);
        curves.events.hyper_parameters(&values, &metrics).at("writing", self.folder.path())
    }

    /// Says that the run is done.
    pub(super) fn log_end(&mut self) -> Result<()> {
        let Some(curves) = &mut self.curves else { return Ok(()) };
        curves.events.done().at("writing", self.folder.path())
    }

    /// The scalars of a step, which are read from the device.
    pub(super) fn scalars(outcome: &Outcome) -> Vec<(String, f64)> {
        let total = ("step/loss".to_string(), outcome.loss.total.double_value(&[]));
        let parts = outcome.loss.parts.iter().map(|(name, part)| (format!("step/{name}"), part.double_value(&[])));
        std::iter::once(total).chain(parts).collect()
    }

    /// Writes a step's scalars after `step` updates of the run.
    pub(super) fn log_step(&mut self, step: u64, mut scalars: Vec<(String, f64)>) -> Result<()> {
        scalars.push(("step/lr".into(), self.parts.step.model.learning_rate(&self.clock.progress())));
        let scalars: Vec<(&str, f64)> = scalars.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let Some(curves) = &mut self.curves else { return Ok(()) };
        curves.events.scalars(step, &scalars).at("writing", self.folder.path())
    }

    /// Writes the first images under each attack that is measured, after `step` updates.
    pub(super) fn log_images(&mut self, step: u64) -> Result<()> {
        let Some(count) = self.pipeline.log.images else { return Ok(()) };
        let few = self.eval_images.first(i64::try_from(count).unwrap_or(i64::MAX));
        let (clean, ..) = few.slice(0, few.len(), Kind::Float);
        for name in self.watched().iter().filter(|name| *name != NATURAL) {
            let attacked = self.attacked(name, &few, &clean)?;
            if let Some(curves) = &mut self.curves {
                let png = Png::strips(&[clean.shallow_clone(), attacked])?;
                curves.events.image(step, &format!("attacked/{name}"), &png).at("writing", self.folder.path())?;
            }
        }
        Ok(())
    }

    /// The images `few` under the attack `name`, on every rank; `clean` are they before it.
    fn attacked(&mut self, name: &str, few: &Resident, clean: &Tensor) -> Result<Tensor> {
        let attack = self.parts.attacks.get_mut(name);
        let mut trial = Trial {
            name,
            attack: attack.map(|attack| attack.as_mut() as _),
            data: few,
            batch_size: self.pipeline.train.eval_batch_size as i64,
            seed: self.pipeline.seed,
            keeps_images: true,
        };
        let shown = clean.to_device(tch::Device::Cpu).copy();
        let mut progress = trial.begin();
        trial.advance(self.parts.step.evaluated(), &mut progress, &mut |tick| {
            if let Some(found) = tick.found {
                let _ = shown.shallow_clone().index_copy_(0, &Tensor::from_slice(&found.places), &found.x);
            }
            true
        })?;
        Ok(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_dotted_and_a_component_is_its_name() {
        let mut all = Vec::new();
        let loss = json!({ "type": "trades", "beta": { "type": "cosine", "start": 6 }, "log": true, "none": null });
        leaves("loss".into(), &loss, &mut all);
        let all: Vec<String> = all.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(all, ["loss=\"trades\"", "loss.beta=\"cosine\"", "loss.beta.start=6", "loss.log=true"]);
    }
}
