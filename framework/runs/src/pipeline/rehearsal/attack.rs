//! An attack, on a small network in the model's place.

use super::scene::Scene;
use super::stand_in::stand_in;
use super::{Finding, is_finite, same};
use foil::attack::{Adversarial, Attack, Batch, Target};
use foil::engine::{Learner, Network};
use foil::guard;
use foil::nn::Mode;
use foil::registry::Component;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// An attack of more passes is run once: no second run is compared with the first.
const MOST_TO_REPEAT: u32 = 500;

/// What a rehearsal of an attack showed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub findings: Vec<Finding>,
    /// Passes through the model for one batch.
    pub passes: u32,
    /// The modes in which it takes gradients of the images.
    pub gradients: Vec<Mode>,
    /// Its side tensors.
    pub side: BTreeMap<String, Tensor>,
}

impl Clone for Seen {
    fn clone(&self) -> Self {
        let side = self.side.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        Self { findings: self.findings.clone(), passes: self.passes, gradients: self.gradients.clone(), side }
    }
}

/// One that `evaluates` may leave out the images that it has broken, as in an evaluation on the
/// CPU: on a network without training that is soon, so AutoAttack takes a second.
pub(super) fn look(scene: &Scene, component: &Component<dyn Attack>, evaluates: bool) -> Seen {
    let mut seen = Seen::default();
    let found = examine(scene, component, evaluates, &mut seen).err();
    seen.findings.extend(found);
    seen
}

fn examine(scene: &Scene, component: &Component<dyn Attack>, evaluates: bool, seen: &mut Seen) -> Result<(), Finding> {
    let first = run(scene, component, evaluates, seen)?;
    if seen.passes <= MOST_TO_REPEAT {
        let second = run(scene, component, evaluates, &mut Seen::default())?;
        let differs = first.side.iter().find(|(name, a)| second.side.get(*name).is_none_or(|b| !same(a, b)));
        let what = match (same(&first.x, &second.x), differs) {
            (false, _) => Some("other images".to_string()),
            (true, Some((name, _))) => Some(format!("another `{name}`")),
            (true, None) => None,
        };
        if let Some(what) = what {
            let message = format!("gives {what} when it runs a second time with the same seed");
            return Err(Finding::new(message, "take random numbers from the batch: `batch.uniform(\"start\")`"));
        }
    }
    seen.side = first.side;
    Ok(())
}

/// One run of a fresh copy.
fn run(
    scene: &Scene,
    component: &Component<dyn Attack>,
    evaluates: bool,
    seen: &mut Seen,
) -> Result<Adversarial, Finding> {
    let mut attack = scene.attack(component)?;
    let (network, asked) = stand_in(&scene.data);
    let images = scene.images().known_to(&network);
    let mut batch = images.batch(&scene.clock);
    let made = guard(|| {
        network.start_step();
        attack.learner().map(Learner::network).into_iter().for_each(Network::start_step);
        let target = Target::new(&network, &batch.noise);
        let clean = attack.needs_clean_logits().then(|| target.logits(&batch.x, Mode::Train));
        Ok(clean)
    });
    batch.clean_logits = made.map_err(Finding::failed)?;
    let before = asked.passes();
    let networks = scene.networks()?;
    let target = Target::new(&network, &batch.noise).among(&networks);
    let target = if evaluates { target.shrinking() } else { target };
    let made = guard(|| batch.unwritten(|| attack.perturb(&target, &batch))).map_err(Finding::failed)?;
    (seen.passes, seen.gradients) = (asked.passes() - before, asked.gradients());
    fit(&made, &batch, attack.as_ref())?;
    Ok(made)
}

fn fit(made: &Adversarial, batch: &Batch, attack: &dyn Attack) -> Result<(), Finding> {
    let help = "an attack returns the attacked images, [N, C, H, W] in the batch's order";
    if !made.x.defined() {
        return Err(Finding::new("returns a tensor that was never computed", help));
    }
    let (found, asked) = (made.x.size(), batch.x.size());
    if found != asked {
        return Err(Finding::new(format!("returns images {found:?} for {asked:?}"), help));
    }
    if made.x.kind() != Kind::Float {
        let message = format!("returns images of {:?}, but was given Float", made.x.kind());
        return Err(Finding::new(message, "keep the kind of the images: x.to_kind(batch.x.kind())"));
    }
    if !is_finite(&made.x) {
        let help = "look for a division by a gradient's norm that is 0";
        return Err(Finding::new("returns images that are not finite", help));
    }
    let provides = guard(|| Ok(attack.provides())).map_err(Finding::failed)?;
    match provides.into_iter().find(|name| !made.side.get(*name).is_some_and(Tensor::defined)) {
        None => Ok(()),
        Some(name) => {
            let message = format!("lists `{name}` in `provides`, but does not return it");
            Err(Finding::new(message, format!("`Adversarial::new(x).with(\"{name}\", tensor)` adds it")))
        }
    }
}
