//! The loss alone, on made-up logits.

use super::scene::Scene;
use super::{Finding, is_finite, same};
use foil::distributed::World;
use foil::engine::no_feature;
use foil::guard;
use foil::loss::{Forward, ImageSet, Loss, LossInput, LossOutput};
use foil::nn::{KEEP_THE_GRAPH, Mode, Noise, backward};
use foil::shim::version;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

pub(super) fn look(scene: &Scene, side: &BTreeMap<String, Tensor>) -> Result<(), Finding> {
    let (first, second) = (run(scene, side)?, run(scene, side)?);
    let parts = first.parts.iter().zip(&second.parts);
    let differs = parts.map(|((name, a), (_, b))| (*name, a, b)).find(|(_, a, b)| !same(a, b));
    let what = match (same(&first.total, &second.total), differs) {
        (false, _) => "another value".to_string(),
        (true, Some((name, ..))) => format!("another `{name}`"),
        (true, None) => return Ok(()),
    };
    let message = format!("gives {what} when it runs a second time on the same logits");
    Err(Finding::new(
        message,
        "a loss is a function of its input and its state: it draws no random numbers, and changes its \
                state in `after_update` only",
    ))
}

/// One run of a fresh copy.
fn run(scene: &Scene, side: &BTreeMap<String, Tensor>) -> Result<LossOutput, Finding> {
    let loss = scene.loss()?;
    let images = scene.images();
    let MadeUp { leaves, logits, images: by_images, features } = logits(scene, loss.as_ref())?;
    let watched: Vec<_> = logits.iter().map(|(pass, z)| (*pass, z.shallow_clone())).collect();
    let input = LossInput::new(logits, &images.y, side, &scene.clock).of_images(&images.index, World::alone());
    let passes = guard(|| Ok(loss.passes())).map_err(Finding::failed)?;
    let sets = passes.into_iter().map(Forward::images).chain([ImageSet::Clean, ImageSet::Adversarial]);
    let sets = sets.filter(|set| *set != ImageSet::Both).map(|set| (set, images.x.shallow_clone())).collect();
    let input = input.of_leaves(by_images).of_features(features).of_sets(sets);
    let state = guard(|| Ok(loss.state())).map_err(Finding::failed)?;
    let given = || {
        let logits = watched.iter().map(|(pass, z)| (format!("the logits of the pass {pass:?}"), version(z)));
        let side = side.iter().map(|(name, t)| (format!("the attack's `{name}`"), version(t)));
        let state = state.iter().map(|(name, t)| (format!("its state `{name}` in `forward`"), version(t)));
        let labels = [("the labels".to_string(), version(&images.y))];
        logits.chain(side).chain(state).chain(labels).collect::<Vec<_>>()
    };
    let before = given();
    let output = guard(|| loss.forward(&input)).map_err(Finding::failed)?;
    if let Some(((what, _), _)) = given().into_iter().zip(before).find(|(after, before)| after != before) {
        let help = match what.starts_with("its state") {
            true => "change it in `after_update` or `after_epoch`: an update may compute the loss several times",
            false => "copy it first: operations whose name ends in `_` change a tensor in place",
        };
        return Err(Finding::new(format!("writes into {what}"), help));
    }
    fit(&output)?;
    let leaves: Vec<&Tensor> = leaves.iter().collect();
    let gradients = guard(|| backward(&output.total, &leaves)).map_err(Finding::failed)?;
    if gradients.iter().all(Option::is_none) {
        return Err(Finding::new("does not depend on the logits", KEEP_THE_GRAPH));
    }
    if !gradients.iter().flatten().all(is_finite) {
        let help = "look for a root or a logarithm of 0, also in a branch that a mask hides";
        return Err(Finding::new("has a gradient that is not finite, though its value is", help));
    }
    Ok(LossOutput { total: output.total.detach(), ..output })
}

/// Made-up logits by pass, the leaves that they are computed from, and the images of passes by
/// whose images the loss differentiates.
struct MadeUp {
    leaves: Vec<Tensor>,
    logits: BTreeMap<Forward, Tensor>,
    images: BTreeMap<Forward, Tensor>,
    features: BTreeMap<(Forward, &'static str), Tensor>,
}

/// Made-up features of the shapes that the model's have.
fn features(
    scene: &Scene,
    loss: &dyn Loss,
    leaves: &mut Vec<Tensor>,
) -> Result<BTreeMap<(Forward, &'static str), Tensor>, Finding> {
    let asked = guard(|| Ok(loss.features())).map_err(Finding::failed)?;
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (network, x) = (scene.model()?, scene.images().x);
    let noise = Noise::seeded(&[foil::nn::name_key("features")], x.size()[0], Device::Cpu);
    let named = guard(|| Ok(network.with_features(|| network.frozen(&x, Mode::Eval, Some(&noise))).1));
    let named = named.map_err(Finding::failed)?;
    let make = |(pass, name): (Forward, &'static str)| {
        let shape = named.get(name).ok_or_else(|| no_feature(name, named.keys())).map_err(Finding::failed)?.size();
        let leaf = noise.normal(&format!("{pass:?} {name}"), &shape[1..], Kind::Float).set_requires_grad(true);
        leaves.push(leaf.shallow_clone());
        Ok(((pass, name), leaf * 1.0))
    };
    asked.into_iter().map(make).collect()
}

fn logits(scene: &Scene, loss: &dyn Loss) -> Result<MadeUp, Finding> {
    let (x, classes) = (scene.images().x, scene.data.classes);
    let n = x.size()[0];
    let by_images = guard(|| Ok(loss.input_gradients())).map_err(Finding::failed)?;
    let mut images = BTreeMap::new();
    let noise = Noise::seeded(&[foil::nn::name_key("logits")], n, Device::Cpu);
    let passes = guard(|| Ok(loss.passes())).map_err(Finding::failed)?;
    let (mut leaves, mut logits) = (Vec::new(), BTreeMap::new());
    for pass in passes {
        let read = match pass {
            Forward::Together => vec![Forward::Clean, Forward::Adversarial],
            Forward::CleanAfterUpdate => Vec::new(),
            pass => vec![pass],
        };
        for pass in read {
            let name = if pass == Forward::Adversarial { "adversarial" } else { "clean" };
            let leaf = noise.normal(name, &[classes], Kind::Float).set_requires_grad(true);
            let mut z = &leaf * 1.0; // Writing into a leaf would be libtorch's error.
            if by_images.contains(&pass) {
                let x = x.detach().copy().set_requires_grad(true);
                let pixels = x.numel() as i64 / n;
                let weights = Noise::seeded(&[foil::nn::name_key("weights")], pixels, Device::Cpu);
                let weights = weights.normal(name, &[classes], Kind::Float) / (pixels as f64).sqrt();
                z += x.flatten(1, -1).matmul(&weights).tanh();
                images.insert(pass, x);
            }
            logits.insert(pass, z);
            leaves.push(leaf);
        }
    }
    let features = features(scene, loss, &mut leaves)?;
    Ok(MadeUp { leaves, logits, images, features })
}

/// Whether the loss is a finite scalar that can be differentiated.
fn fit(output: &LossOutput) -> Result<(), Finding> {
    let parts = output.parts.iter().map(|(name, value)| (format!("a part `{name}`"), value));
    let all: Vec<(String, &Tensor)> = parts.chain([("a loss".to_string(), &output.total)]).collect();
    for (what, value) in &all {
        if !value.defined() {
            return Err(Finding::new(format!("returns {what} that was never computed"), ""));
        }
        let (shape, kind) = (value.size(), value.kind());
        if !shape.is_empty() {
            let help = "take the mean over the batch: .mean(None::<Kind>)";
            return Err(Finding::new(format!("returns {what} of shape {shape:?}, but it must be a scalar"), help));
        }
        if !matches!(kind, Kind::Float | Kind::Double) {
            let message = format!("returns {what} of {kind:?}, but it must be Float");
            return Err(Finding::new(message, "compute it in floating point: .to_kind(Kind::Float)"));
        }
    }
    // Parts come first: they say where a total that is not finite comes from.
    for (what, value) in &all {
        if !is_finite(value) {
            let message = format!("returns {what} that is {} on ordinary logits", value.double_value(&[]));
            return Err(Finding::new(message, "use log_softmax, and keep logarithms and divisions away from 0"));
        }
    }
    if !output.total.requires_grad() {
        return Err(Finding::new("returns a loss without a gradient: it is detached from the logits", KEEP_THE_GRAPH));
    }
    Ok(())
}
