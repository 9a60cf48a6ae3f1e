//! The attack trait: from a batch to the images that a step trains on or an evaluation tests.
//!
//! An attack sees the model through a [`Target`] (logits, and gradients with respect to the input;
//! the attack sets the mode) and the images as a [`Batch`]. A plain attack is two methods,
//! [`Attack::perturb`] and [`Attack::mode`]. What it may offer besides has a trait or a method of
//! its own: [`Learning`] if it keeps or learns something, [`Attack::stages`] if it is a chain,
//! [`Attack::inner`] if it wraps another attack.
//!
//! # What is called, in which order
//!
//! When the parts of a run are built (`foil check` does the first two):
//! 1. [`Config::build`](crate::registry::Config::build) makes the attack from its settings.
//! 2. The declarations are read and compared with the loss: [`Attack::mode`],
//!    [`Attack::provides`], [`Attack::needs_clean_logits`]; later [`Attack::threats`] for model
//!    cards and evaluations, and [`Attack::capturable`] for CUDA graphs.
//! 3. [`Learning::state`] takes what a checkpoint holds, if the run is resumed.
//!
//! In each training step, as in Algorithm 1 of the papers:
//! 1. The clean images pass through the model, if [`Attack::needs_clean_logits`].
//! 2. [`Attack::perturb`] makes the training images; [`Attack::complete`] in its place if
//!    `foil probe` was given them. An attack that [ends with a pass of its
//!    own](Attack::ends_with_train_pass) may be asked to leave it to the engine.
//! 3. The loss's passes run and the model is updated; before each change of the weights,
//!    [`Learning::after_gradient`], if [`Learning::takes_gradient`].
//! 4. [`Learning::after_update`] trains the attack itself.
//!
//! After each epoch: [`Learning::per_image`] (with several ranks, to merge their state),
//! [`Learning::remark`], and [`Learning::state`] for the checkpoint.
//!
//! In an evaluation: [`Attack::stages`] once for each batch. A chain's stages are then called one
//! after another, each on the images that are still right; any other attack's
//! [`Attack::perturb`]. Nothing is learned.

mod batch;
mod box01;
mod learning;
mod target;
mod threat;

pub use batch::Batch;
pub use box01::Box01;
pub use learning::Learning;
pub use target::{Ascent, Target};
pub use threat::{Norm, Threat, radius};

use crate::engine::Learner;
use crate::nn::Mode;
use crate::{Error, Result};
use std::collections::BTreeMap;
use tch::Tensor;

/// An attack's result.
#[derive(Debug)]
pub struct Adversarial {
    /// Attacked images, `[N, C, H, W]`, in the batch's order.
    pub x: Tensor,
    /// Side tensors by the names in [`Attack::provides`].
    pub side: BTreeMap<String, Tensor>,
    /// Further images `[N, C, H, W]`, in the batch's order, by the names in [`Attack::images`].
    pub images: BTreeMap<String, Tensor>,
    /// Which images it has seen misclassified, at the returned point or on the way there, `[N]`
    /// bool; `None` from an attack that did not look.
    pub broken: Option<Tensor>,
}

impl Adversarial {
    /// The same result with other attacked images.
    pub(crate) fn moved_to(&self, x: Tensor) -> Self {
        let copies =
            |of: &BTreeMap<String, Tensor>| of.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
        Self { x, side: copies(&self.side), images: copies(&self.images), broken: None }
    }

    /// Attacked images without side tensors.
    pub fn new(x: Tensor) -> Self {
        Self { x, side: BTreeMap::new(), images: BTreeMap::new(), broken: None }
    }

    /// Adds a set of images.
    #[must_use]
    pub fn with_images(mut self, name: &str, images: Tensor) -> Self {
        self.images.insert(name.to_string(), images);
        self
    }

    /// Adds which images it has seen misclassified.
    #[must_use]
    pub fn with_broken(self, broken: Tensor) -> Self {
        Self { broken: Some(broken), ..self }
    }

    /// Adds a side tensor.
    #[must_use]
    pub fn with(mut self, name: &str, tensor: Tensor) -> Self {
        self.side.insert(name.to_string(), tensor);
        self
    }
}

/// A way to perturb images.
///
/// The contract: a fixed sequence of tensor operations without host reads or data-dependent shapes
/// (early stopping and bisection are masks), in the order of the batch; randomness only from the
/// batch's [`Noise`](crate::nn::Noise). The module's page says in which order the methods are
/// called.
pub trait Attack: Send {
    /// Attacked images for `batch`.
    ///
    /// # Errors
    /// When an input is missing; tensor operations that fail are caught by the engine.
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial>;

    /// The mode in which it runs the model; an attack for evaluation must return `Eval`.
    fn mode(&self) -> Mode;

    /// Names of the side tensors it provides.
    fn provides(&self) -> Vec<&'static str> {
        self.inner().map_or_else(Vec::new, |inner| inner.provides())
    }

    /// Names of the sets of images that it makes besides the attacked ones; a loss may ask for
    /// passes over them.
    fn images(&self) -> Vec<&'static str> {
        self.inner().map_or_else(Vec::new, |inner| inner.images())
    }

    /// Whether it can train on labels `[N, K]`, which give each class a share of the image, as
    /// mixup makes them: if its objective can, and it asks nothing else of a label. A wrapper that
    /// reads labels itself says so.
    fn soft_labels(&self) -> bool {
        self.inner().is_some_and(|inner| inner.soft_labels())
    }

    /// Names of the networks besides the model that it looks at: [`Target::network`]. Such an
    /// attack cannot evaluate a model.
    fn networks(&self) -> Vec<String> {
        self.inner().map_or_else(Vec::new, |inner| inner.networks())
    }

    /// Whether it reads [`Batch::clean_logits`].
    fn needs_clean_logits(&self) -> bool {
        self.inner().is_some_and(|inner| inner.needs_clean_logits())
    }

    /// Whether it obeys the contract, so that it can be captured in a CUDA graph. An attack that
    /// reads the device, or takes changing numbers from the host, returns false; its steps then run
    /// one operation at a time.
    fn capturable(&self) -> bool {
        self.inner().is_none_or(|inner| inner.capturable())
    }

    /// Whether it ends with a pass in train mode over its own result, which moves batch norm's
    /// running statistics and decides nothing (PGD with `keep: worst` and one try).
    ///
    /// The loss's first pass is often over the same images with the same weights. The engine then
    /// asks for the result without the attack's pass ([`Target::skips_last_pass`]) and counts its
    /// own twice. An attack that returns true must obey that.
    fn ends_with_train_pass(&self) -> bool {
        false
    }

    /// The balls that its images lie in, by norm and radius, each once: the threat model in records
    /// and model cards. Empty if there is no such ball, or if the radius follows a scheduler.
    /// [`Threat::within`] makes the list from a `norm` and an `eps`.
    fn threats(&self) -> Vec<Threat> {
        self.inner().map_or_else(Vec::new, |inner| inner.threats())
    }

    /// Completes the result of [`Attack::perturb`] from given attacked images `x_adv`
    /// `[N, C, H, W]`, for `foil probe`.
    ///
    /// # Errors
    /// By default when the attack provides side tensors, which it computes while attacking.
    fn complete(&mut self, target: &Target, batch: &Batch, x_adv: Tensor) -> Result<Adversarial> {
        let _ = (target, batch);
        match self.provides().as_slice() {
            [] => Ok(Adversarial::new(x_adv)),
            side => Err(Error::new(format!("its {} cannot be computed from attacked images", side.join(", ")))
                .help("leave `x_adv` out, and give `start` and its draws")),
        }
    }

    /// What it keeps and learns between steps; `None` for an attack that does neither.
    fn learning(&self) -> Option<&dyn Learning> {
        self.inner().and_then(|inner| inner.learning())
    }

    /// The same, to learn.
    fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        self.inner_mut().and_then(|inner| inner.learning_mut())
    }

    /// The attacks that it is a chain of, by name and in order; none for a single attack. Stages
    /// that belong together share the part before the dot: `apgd_t.1`, `apgd_t.2`.
    ///
    /// An evaluation runs the stages one after another, each only on images that are still
    /// classified correctly. [`Attack::perturb`] runs them all on every image.
    fn stages(&mut self) -> Vec<(String, &mut dyn Attack)> {
        Vec::new()
    }

    /// The attack that this one wraps. A wrapper that writes this and [`Attack::inner_mut`]
    /// declares, keeps and learns what the wrapped attack does, except where it says otherwise.
    ///
    /// Three methods are about the result, which a wrapper changes, and stay the wrapper's own:
    /// [`Attack::complete`], [`Attack::ends_with_train_pass`] and [`Attack::stages`] (a wrapped
    /// chain runs as a whole).
    fn inner(&self) -> Option<&dyn Attack> {
        None
    }

    /// The same, to learn.
    fn inner_mut(&mut self) -> Option<&mut dyn Attack> {
        None
    }
}

impl dyn Attack + '_ {
    /// The network that it trains, if there is one: [`Learning::learner`].
    pub fn learner(&self) -> Option<&Learner> {
        self.learning().and_then(|learning| learning.learner())
    }

    /// What it keeps between steps, by name; empty for an attack that keeps nothing:
    /// [`Learning::state`].
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.learning().map_or_else(Vec::new, |learning| learning.state())
    }
}
