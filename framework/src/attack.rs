//! The attack trait: from a batch to the images that a step trains on or an evaluation tests.
//!
//! An attack sees the model through a [`Target`] (logits, and gradients with respect to the input;
//! the attack sets the mode) and the images as a [`Batch`]. It may keep state per training image
//! (MMA's radii) and networks of its own with their optimiser (CAT's mask g), and learn after the
//! model's update (Eq. 14); all of that is in [`Attack::state`] and so in every checkpoint.

mod box01;
mod target;

pub use box01::Box01;
pub use target::{Ascent, Target};

use crate::nn::{Mode, Noise};
use crate::scheduler::{Clock, Scheduled};
use crate::{Error, Result};
use std::collections::BTreeMap;
use tch::Tensor;

/// The images of one step.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Images `[N, C, H, W]` in [0, 1].
    pub x: Tensor,
    /// Labels `[N]`, int64.
    pub y: Tensor,
    /// The images' indices in the data set `[N]`, int64.
    pub index: Tensor,
    /// Random numbers, keyed by image.
    pub noise: Noise,
    /// The run's progress and scheduled numbers.
    pub clock: &'a Clock,
    /// Train-mode logits of `x` computed before the attack, if the loss asked for
    /// [`crate::loss::Forward::CleanFirst`].
    pub clean_logits: Option<Tensor>,
}

impl Batch<'_> {
    /// A scheduled number now.
    pub fn now(&self, number: &Scheduled) -> Tensor {
        number.at(self.clock)
    }

    /// The part of the batch at `rows` `[n]`, in that order; each image keeps its random numbers.
    #[must_use]
    pub fn rows(&self, rows: &Tensor) -> Self {
        let pick = |t: &Tensor| t.index_select(0, rows);
        let (noise, clean_logits) = (self.noise.rows(rows), self.clean_logits.as_ref().map(pick));
        Self { x: pick(&self.x), y: pick(&self.y), index: pick(&self.index), noise, clock: self.clock, clean_logits }
    }

    /// `[N, C, H, W]` numbers uniform in [0, 1), keyed by `name` and image.
    pub fn uniform(&self, name: &str) -> Tensor {
        self.noise.uniform(name, &self.x.size()[1..], self.x.kind())
    }

    /// `[N, C, H, W]` standard normal numbers, keyed by `name` and image.
    pub fn normal(&self, name: &str) -> Tensor {
        self.noise.normal(name, &self.x.size()[1..], self.x.kind())
    }
}

impl Batch<'_> {
    /// Runs `attack`. It is an error if the attack writes into the images or labels, which its
    /// result is compared with.
    pub(crate) fn unwritten<T>(&self, attack: impl FnOnce() -> Result<T>) -> Result<T> {
        let versions = || [&self.x, &self.y, &self.index].map(crate::shim::version);
        let before = versions();
        let made = attack()?;
        if versions() == before {
            return Ok(made);
        }
        Err(Error::new("it writes into the images or labels it is given")
            .help("copy them first: operations whose name ends in `_` change a tensor in place"))
    }
}

/// An attack's result.
#[derive(Debug)]
pub struct Adversarial {
    /// Attacked images, `[N, C, H, W]`, in the batch's order.
    pub x: Tensor,
    /// Side tensors by the names in [`Attack::provides`].
    pub side: BTreeMap<String, Tensor>,
}

impl Adversarial {
    /// Attacked images without side tensors.
    pub fn new(x: Tensor) -> Self {
        Self { x, side: BTreeMap::new() }
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
/// batch's [`Noise`].
pub trait Attack: Send {
    /// Attacked images for `batch`.
    ///
    /// # Errors
    /// When an input is missing; tensor operations that fail are caught by the engine.
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial>;

    /// [`Attack::perturb`] for a caller whose next train-mode pass is over the result. An attack
    /// that ends with a train-mode pass over its own result (PGD with `keep: worst`) may skip that
    /// pass, since the caller's computes the same statistics. It then returns true, and the caller
    /// counts its own pass twice. Not called for models with dropout.
    ///
    /// # Errors
    /// As [`Attack::perturb`].
    fn perturb_sparing(&mut self, target: &Target, batch: &Batch) -> Result<(Adversarial, bool)> {
        Ok((self.perturb(target, batch)?, false))
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

    /// The mode in which it runs the model; an attack for evaluation must return `Eval`.
    fn mode(&self) -> Mode;

    /// Names of the side tensors it provides.
    fn provides(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Whether it reads [`Batch::clean_logits`].
    fn needs_clean_logits(&self) -> bool {
        false
    }

    /// Whether it obeys the contract, so that it can be captured in a CUDA graph. An attack that
    /// reads the device, or takes changing numbers from the host, returns false; its steps then run
    /// one operation at a time.
    fn capturable(&self) -> bool {
        true
    }

    /// Called after the model's update with the same batch and this attack's result; here the
    /// attack trains its own networks. Returns named scalars for the log.
    ///
    /// # Errors
    /// As [`Attack::perturb`].
    fn after_update(
        &mut self,
        target: &Target,
        batch: &Batch,
        adversarial: &Adversarial,
    ) -> Result<Vec<(&'static str, Tensor)>> {
        let _ = (target, batch, adversarial);
        Ok(Vec::new())
    }

    /// Everything the attack keeps between steps, by name. The tensors share its memory:
    /// checkpoints copy from and into them.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// The names of the attacks that it is a chain of, in order; none for a single attack. Stages
    /// that belong together share the part before the dot: `apgd_t.1`, `apgd_t.2`.
    ///
    /// An evaluation runs the stages one after another, each only on images that are still
    /// classified correctly. [`Attack::perturb`] runs them all on every image.
    fn stages(&self) -> Vec<String> {
        Vec::new()
    }

    /// The stage at place `n` of [`Attack::stages`].
    fn stage(&mut self, n: usize) -> Option<&mut dyn Attack> {
        let _ = n;
        None
    }

    /// Names in [`Attack::state`] whose rows belong to training images, `[train, …]` by index.
    /// Each image is visited by one rank per epoch, so ranks hold different rows until they are
    /// merged. All other state must be the same on every rank.
    fn per_image(&self) -> Vec<String> {
        Vec::new()
    }

    /// A warning for the user after an epoch, for example that the attack's network is stuck where
    /// it is useless. `means` are the epoch's means of what [`Attack::after_update`] returned, by
    /// name. The text is logged when it first appears, so it should not change from epoch to epoch
    /// while the cause is the same.
    fn remark(&self, means: &BTreeMap<String, f64>) -> Option<String> {
        let _ = means;
        None
    }

    /// The mask network, for pictures and `foil probe`; only for attacks that have one.
    fn learner(&self) -> Option<&crate::engine::Learner> {
        None
    }
}
