//! Attacks that learn, or keep something between steps.

use super::{Adversarial, Batch, Target};
use crate::Result;
use crate::engine::Learner;
use std::collections::BTreeMap;
use tch::Tensor;

/// What an attack keeps between steps, and how it learns: MMA's radii, CAT's mask network.
///
/// An attack offers it through [`super::Attack::learning`]. All methods have defaults, so an
/// attack that only keeps numbers writes [`Learning::state`] alone.
pub trait Learning {
    /// Called after the model's update with the same batch and the attack's own result; here the
    /// attack trains its networks. Returns named scalars for the log.
    ///
    /// # Errors
    /// As [`super::Attack::perturb`].
    fn after_update(
        &mut self,
        target: &Target,
        batch: &Batch,
        adversarial: &Adversarial,
    ) -> Result<Vec<(&'static str, Tensor)>> {
        let _ = (target, batch, adversarial);
        Ok(Vec::new())
    }

    /// Whether it is given the loss's gradient by the attacked images:
    /// [`Learning::after_gradient`]. That makes the step's backward pass go down to the images,
    /// which costs one layer's gradient.
    fn takes_gradient(&self) -> bool {
        false
    }

    /// Called after each gradient of the step in train mode, before the weights change, with the
    /// `gradient` of the loss, a mean over the batch of all ranks, by the attacked images, `[N, C,
    /// H, W]`. Returns the attacked images that the step's next gradient sees, if it takes one (the
    /// update `replay`).
    ///
    /// # Errors
    /// As [`super::Attack::perturb`].
    fn after_gradient(
        &mut self,
        target: &Target,
        batch: &Batch,
        adversarial: &Adversarial,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        let _ = (target, batch, gradient);
        Ok(adversarial.x.shallow_clone())
    }

    /// Everything the attack keeps between steps, by name. The tensors share its memory:
    /// checkpoints copy from and into them.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Names in [`Learning::state`] whose rows belong to training images, `[train, …]` by index.
    /// Each image is visited by one rank per epoch, so ranks hold different rows until they are
    /// merged. All other state must be the same on every rank.
    fn per_image(&self) -> Vec<String> {
        Vec::new()
    }

    /// A warning for the user after an epoch, for example that the attack's network is stuck where
    /// it is useless. `means` are the epoch's means of what [`Learning::after_update`] returned, by
    /// name. The text is logged when it first appears, so it should not change from epoch to epoch
    /// while the cause is the same.
    fn remark(&self, means: &BTreeMap<String, f64>) -> Option<String> {
        let _ = means;
        None
    }

    /// The network that the attack trains, with its optimiser; for the engine, which averages its
    /// statistics over ranks, and for pictures and `foil probe`.
    fn learner(&self) -> Option<&Learner> {
        None
    }
}
