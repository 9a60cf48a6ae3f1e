//! A step's forward passes: those that the loss asks for, through the model and other networks.

use super::lap;
use super::merged_passes::{MergedPass, merge_passes};
use super::networks::Further;
use super::step::{Step, in_loss};
use crate::attack::{Adversarial, Batch, Target};
use crate::guard;
use crate::loss::{Forward, ImageSet};
use crate::nn::kernels::in_plain_form;
use crate::nn::{Mode, Noise};
use crate::{Error, Result};
use std::collections::BTreeMap;
use tch::Tensor;

/// Logits `[N, K]` by forward pass.
pub(super) type Logits = BTreeMap<Forward, Tensor>;

/// What passes find besides logits.
#[derive(Default)]
pub(super) struct Found {
    /// The images of those by whose images the loss differentiates.
    pub leaves: Logits,
    /// What the loss reads of what the model names.
    pub features: BTreeMap<(Forward, &'static str), Tensor>,
}

/// What the loss asks of passes besides logits.
struct Asked {
    input_gradients: Vec<Forward>,
    features: Vec<(Forward, &'static str)>,
}

/// The forward passes of a step.
pub(super) struct Passes {
    /// What the loss asks for, in order.
    pub asked: Vec<Forward>,
    /// Whether passes over the same images give the same, and are made once.
    pub repeat: bool,
    /// Whether the attack leaves its last pass to the first one of the loss, which counts twice.
    pub skip_attacks_last: bool,
}

impl Step {
    /// The clean images before the attack, which sees their logits.
    pub(super) fn pass_clean_first(&self, passes: &Passes, batch: &mut Batch, logits: &mut Logits) -> Result<()> {
        if passes.asked.contains(&Forward::CleanFirst) {
            let pass = || Ok(self.model.network().differentiable(&batch.x, Mode::Train, Some(&batch.noise)));
            let clean = guard(pass).map_err(in_loss(self.names))?;
            batch.clean_logits = Some(clean.detach());
            logits.insert(Forward::CleanFirst, clean);
            lap("forward passes before the attack");
        }
        Ok(())
    }

    /// The passes of frozen networks, whose logits are constants; those that `logits` has are not
    /// made again.
    pub(super) fn pass_frozen(
        &self,
        passes: &Passes,
        batch: &Batch,
        adversarial: &Adversarial,
        logits: &mut Logits,
    ) -> Result<()> {
        self.pass_networks(passes, true, Mode::Eval, batch, adversarial, logits)
    }

    /// The passes through networks besides the model that `logits` lacks: of those that are
    /// `frozen`, or of those that learn.
    fn pass_networks(
        &self,
        passes: &Passes,
        frozen: bool,
        mode: Mode,
        batch: &Batch,
        adversarial: &Adversarial,
        logits: &mut Logits,
    ) -> Result<()> {
        for &pass in &passes.asked {
            let Some(name) = pass.network().filter(|_| !logits.contains_key(&pass)) else { continue };
            if matches!(self.networks.get(name).map_err(in_loss(self.names))?, Further::Frozen(_)) == frozen {
                let images = images_of(pass.images(), batch, adversarial).map_err(in_loss(self.names))?;
                logits.insert(pass, guard(|| self.networks.pass(name, &images, mode, &batch.noise))?);
            }
        }
        Ok(())
    }

    /// The passes between attack and update. With [`Mode::Still`] no running statistics move.
    pub(super) fn pass_between(
        &self,
        passes: &Passes,
        mode: Mode,
        batch: &Batch,
        adversarial: &Adversarial,
        logits: &mut Logits,
    ) -> Result<Found> {
        let run = || {
            let asked = Asked { input_gradients: self.loss.input_gradients(), features: self.loss.features() };
            let mut found = Found::default();
            let momentum = self.model.network().params().norm_settings().momentum;
            for merged in merge_passes(&passes.asked, momentum, passes.skip_attacks_last, passes.repeat) {
                let images = images_of(merged.forwards[0].images(), batch, adversarial)?;
                let out = self.pass_merged(&merged, mode, images, &batch.noise, &asked, &mut found)?;
                if merged.forwards[0] == Forward::Together {
                    logits.extend([Forward::Clean, Forward::Adversarial].into_iter().zip(out.chunk(2, 0)));
                } else {
                    logits.extend(merged.forwards.iter().map(|&pass| (pass, out.shallow_clone())));
                }
            }
            Ok(found)
        };
        let found = guard(run).map_err(in_loss(self.names))?;
        self.pass_networks(passes, false, mode, batch, adversarial, logits)?;
        lap("forward passes of the loss");
        Ok(found)
    }

    /// One pass through the model: its logits, and in `found` what else the loss asks of it.
    fn pass_merged(
        &self,
        merged: &MergedPass,
        mode: Mode,
        mut images: Tensor,
        noise: &Noise,
        asked: &Asked,
        found: &mut Found,
    ) -> Result<Tensor> {
        let network = self.model.network();
        let is_leaf = merged.forwards.iter().any(|forward| asked.input_gradients.contains(forward));
        if is_leaf {
            images = images.detach().set_requires_grad(true);
            found.leaves.extend(merged.forwards.iter().map(|&forward| (forward, images.shallow_clone())));
        }
        let logits = || match mode {
            Mode::Still => network.differentiable(&images, mode, Some(noise)),
            _ => network.differentiable_for((merged.times, merged.momentum), &images, noise),
        };
        let pass = || if is_leaf { in_plain_form(logits) } else { logits() };

        let mut read = asked.features.iter().filter(|(forward, _)| merged.forwards.contains(forward)).peekable();
        if read.peek().is_none() {
            return Ok(pass());
        }
        let (logits, named) = network.with_features(pass);
        for &(forward, name) in read {
            let feature = named.get(name).ok_or_else(|| no_feature(name, named.keys()))?;
            found.features.insert((forward, name), feature.shallow_clone());
        }
        Ok(logits)
    }

    /// The clean images after the update, if asked for.
    pub(super) fn pass_clean_after(&self, passes: &Passes, batch: &Batch, mut logits: Logits) -> Logits {
        if passes.asked.contains(&Forward::CleanAfterUpdate) {
            let target = Target::new(self.model.network(), &batch.noise);
            logits.insert(Forward::CleanAfterUpdate, target.logits(&batch.x, Mode::Train));
            lap("forward passes after the update");
        }
        logits
    }
}

/// The error for a feature that the model does not name.
pub fn no_feature<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Error {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let error = Error::new(format!("it asks for the model's feature `{name}`, which this model does not name"));
    match known.as_slice() {
        [] => error.help("this model names none; `pass.feature(…)` in its forward pass would"),
        known => error.help(format!("it names {}", known.join(", "))),
    }
}

/// The images of a set.
fn images_of(set: ImageSet, batch: &Batch, adversarial: &Adversarial) -> Result<Tensor> {
    Ok(match set {
        ImageSet::Clean => batch.x.shallow_clone(),
        ImageSet::Adversarial => adversarial.x.shallow_clone(),
        ImageSet::Both => Tensor::cat(&[&batch.x, &adversarial.x], 0),
        ImageSet::Named(name) => match adversarial.images.get(name) {
            Some(images) => images.shallow_clone(),
            None => return Err(Error::new(format!("the attack makes no images called `{name}`"))),
        },
    })
}
