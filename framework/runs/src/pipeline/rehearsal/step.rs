//! One whole training step, twice from the same seed.

use super::attack::Seen as Attacked;
use super::model::Seen;
use super::scene::Scene;
use super::stand_in::stand_in;
use super::{Finding, is_finite, loss, same};
use foil::engine::{Averages, Learner, Outcome, Step};
use foil::error::Part;
use foil::loss::terms;
use foil::shim::version;
use tch::Tensor;

/// Operations of a step that is run with the model itself: about a second on two cores.
const MOST_OPERATIONS: f64 = 2e10;

/// What was found, and the part of the pipeline that is to blame.
pub(super) fn look(scene: &Scene, model: &Seen, attack: &Attacked) -> Vec<(&'static str, Finding)> {
    if let Err(found) = loss::look(scene, &attack.side) {
        return vec![("loss", found)];
    }
    // A pass with its gradient costs as much as three; the loss asks for a few more passes.
    let operations = model.operations * 3.0 * (f64::from(attack.passes) + 3.0);
    // A small network in the model's place has none of its features.
    let reads = scene.loss().is_ok_and(|loss| !loss.features().is_empty());
    let itself = reads || (operations <= MOST_OPERATIONS && model.capturable);
    let both = run(scene, itself).and_then(|first| Ok((first, run(scene, itself)?)));
    match both.and_then(|(first, second)| compare(&first, &second)) {
        Ok(()) => Vec::new(),
        Err(found) => vec![found],
    }
}

/// A step that was run.
struct Ran {
    step: Step,
    outcome: Outcome,
}

fn run(scene: &Scene, itself: bool) -> Result<Ran, (&'static str, Finding)> {
    let at = |part: &'static str| move |found: Finding| (part, found);
    let pipeline = &scene.pipeline;
    let network = if itself { scene.model().map_err(at("model"))? } else { stand_in(&scene.data).0 };
    let mut step = Step {
        update: scene.update().map_err(at("update"))?,
        networks: scene.networks().map_err(at("optimizer"))?,
        averages: scene.averages().map_err(at("average"))?,
        ..Step::new(
            Learner::new(network, scene.optimizer().map_err(at("optimizer"))?),
            scene.attack(&pipeline.attack).map_err(at("attack"))?,
            scene.loss().map_err(at("loss"))?,
            [pipeline.attack.name(), pipeline.loss.name()],
        )
    };
    if itself {
        // The averages are small networks: they follow one like them.
        step.averages = Averages::default();
    }
    let mut batch = scene.images().batch(&scene.clock);
    if scene.mixes().map_err(at("augment"))? {
        batch.y = terms::shares(&batch.y, scene.data.classes, batch.x.kind());
    }
    let given = [&batch.x, &batch.y, &batch.index].map(version);
    let outcome = step.run(&mut batch).map_err(|error| {
        let part = error.part().map_or(Part::Model, |(part, _)| part);
        (part.key(), Finding::failed(error))
    })?;
    if [&batch.x, &batch.y, &batch.index].map(version) != given {
        let help = "copy them first: operations whose name ends in `_` change a tensor in place";
        return Err(("attack", Finding::new("writes into the images or labels after the update", help)));
    }
    if !is_finite(step.model.network().params().flat()) {
        let help = "look at the learning rate, and for a division by 0 in the update";
        return Err(("optimizer", Finding::new("leaves parameters that are not finite", help)));
    }
    Ok(Ran { step, outcome })
}

/// Blames the first part of the step whose result differs.
fn compare(first: &Ran, second: &Ran) -> Result<(), (&'static str, Finding)> {
    let (a, b) = (&first.outcome, &second.outcome);
    let states = |a: Vec<(String, Tensor)>, b: Vec<(String, Tensor)>| a.iter().zip(&b).all(|(a, b)| same(&a.1, &b.1));
    let alike: [(&str, &str, bool); 5] = [
        ("attack", "other images", same(&a.adversarial.x, &b.adversarial.x)),
        ("model", "other logits", a.logits.iter().all(|(pass, z)| b.logits.get(pass).is_some_and(|y| same(z, y)))),
        ("loss", "another value", same(&a.loss.total, &b.loss.total) && same(&a.gradients.0, &b.gradients.0)),
        ("optimizer", "other parameters", states(first.step.model.state(""), second.step.model.state(""))),
        ("attack", "another state", states(first.step.attack.state(), second.step.attack.state())),
    ];
    match alike.into_iter().find(|(.., alike)| !alike) {
        None => Ok(()),
        Some((part, what, _)) => {
            let message = format!("gives {what} when a step runs a second time from the same seed");
            Err((part, Finding::new(message, "random numbers come from the batch's `noise` or from `pass.draw(…)`")))
        }
    }
}
