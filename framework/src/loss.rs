//! The loss trait: what a training step minimises. Each row of Table 9 is one, and it is what a
//! newcomer writes first.
//!
//! A loss is a pure function. It lists the forward passes it needs, in order (batch norm's running
//! statistics depend on it), and gets their logits with the labels. The engine runs the passes in
//! train mode. A loss may keep something between steps, such as soft labels of each image; it reads
//! that in [`Loss::forward`], and writes it in [`Loss::after_update`] and [`Loss::after_epoch`].

pub mod terms;

use crate::distributed::World;
use crate::nn::{KEEP_THE_GRAPH, differentiable_gradient};
use crate::scheduler::{Clock, Scheduled};
use crate::{Error, Result};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// A forward pass in train mode that a loss asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forward {
    /// The clean images, before the attack runs; the attack sees these logits too.
    CleanFirst,
    /// The clean images.
    Clean,
    /// The attacked images.
    Adversarial,
    /// The clean images in a second pass of their own (TRADES's code computes its KL target this
    /// way). Without dropout the pass `Clean` is reused, and counts twice for batch norm's running
    /// statistics.
    CleanAgain,
    /// Clean and attacked images as one batch of 2N, so that batch norm sees the mixture (ALP);
    /// read as `clean` and `adversarial`.
    Together,
    /// The clean images after the update, without gradient: some code logs this, and it moves the
    /// running statistics.
    CleanAfterUpdate,
    /// The images of a set that the attack makes besides the attacked ones, by its name; see
    /// [`Attack::images`](crate::attack::Attack::images).
    Images(&'static str),
    /// Images through another network of the pipeline, the one called by this name under
    /// `networks`. A frozen one runs in eval mode and its logits are constants; one that learns
    /// runs in train mode, and its logits are differentiable.
    Network(&'static str, ImageSet),
}

/// Which images a forward pass runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageSet {
    /// The clean images, `[N, C, H, W]`.
    Clean,
    /// The attacked images, `[N, C, H, W]`.
    Adversarial,
    /// Clean and then attacked images, `[2N, C, H, W]`.
    Both,
    /// Those of a set that the attack makes, by its name, `[N, C, H, W]`.
    Named(&'static str),
}

/// When in a step a forward pass runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the attack.
    BeforeAttack,
    /// Between attack and update, as part of the loss.
    BeforeUpdate,
    /// After the update.
    AfterUpdate,
}

impl Forward {
    /// Which images it runs over.
    pub fn images(self) -> ImageSet {
        match self {
            Self::CleanFirst | Self::Clean | Self::CleanAgain | Self::CleanAfterUpdate => ImageSet::Clean,
            Self::Adversarial => ImageSet::Adversarial,
            Self::Together => ImageSet::Both,
            Self::Images(name) => ImageSet::Named(name),
            Self::Network(_, images) => images,
        }
    }

    /// The further network that it runs through; `None` for the model.
    pub fn network(self) -> Option<&'static str> {
        match self {
            Self::Network(name, _) => Some(name),
            _ => None,
        }
    }

    /// When it runs.
    pub fn moment(self) -> Moment {
        match self {
            Self::CleanFirst => Moment::BeforeAttack,
            Self::Clean
            | Self::Adversarial
            | Self::CleanAgain
            | Self::Together
            | Self::Images(_)
            | Self::Network(..) => Moment::BeforeUpdate,
            Self::CleanAfterUpdate => Moment::AfterUpdate,
        }
    }
}

/// The input of a loss.
#[derive(Debug)]
pub struct LossInput<'a> {
    pub(crate) logits: BTreeMap<Forward, Tensor>,
    /// The images of the passes in [`Loss::input_gradients`].
    images: BTreeMap<Forward, Tensor>,
    y: &'a Tensor,
    side: &'a BTreeMap<String, Tensor>,
    clock: &'a Clock,
    index: Option<&'a Tensor>,
    world: World,
}

impl<'a> LossInput<'a> {
    /// For tests and `foil probe`: logits by pass, labels `[N]` or `[N, K]`, the attack's side
    /// tensors.
    pub fn new(
        logits: BTreeMap<Forward, Tensor>,
        y: &'a Tensor,
        side: &'a BTreeMap<String, Tensor>,
        clock: &'a Clock,
    ) -> Self {
        Self { logits, images: BTreeMap::new(), y, side, clock, index: None, world: World::alone() }
    }

    /// The same, of the training images at `index`, `[N]`: the part of a batch that this rank of
    /// `world` has.
    #[must_use]
    pub fn of_images(self, index: &'a Tensor, world: World) -> Self {
        Self { index: Some(index), world, ..self }
    }

    /// The same, with the images `[N, C, H, W]` by whose values [`LossInput::input_gradient`]
    /// differentiates: leaves that the logits of their pass were computed from.
    #[must_use]
    pub fn of_leaves(self, images: BTreeMap<Forward, Tensor>) -> Self {
        Self { images, ..self }
    }

    /// Labels `[N]`, int64; or `[N, K]`, the share of each class, for a loss that has
    /// [`Loss::soft_labels`].
    pub fn y(&self) -> &Tensor {
        self.y
    }

    /// The logits `[N, K]` of a pass the loss asked for.
    ///
    /// # Errors
    /// When [`Loss::passes`] does not list it.
    pub fn logits(&self, pass: Forward) -> Result<&Tensor> {
        self.logits.get(&pass).ok_or_else(|| {
            Error::new(format!("this loss did not ask for the pass {pass:?}")).help("list it in `passes()`")
        })
    }

    /// d(sum of `values`)/d(images of `pass`), `[N, C, H, W]`, where `values` are computed from that
    /// pass's logits, such as each image's cross-entropy `[N]`. It is differentiable by the
    /// network's parameters; [`Tensor::detach`] makes it a constant.
    ///
    /// # Errors
    /// When [`Loss::input_gradients`] does not list the pass, when the values do not depend on its
    /// images, and when the model has an operation without second derivative.
    pub fn input_gradient(&self, pass: Forward, values: &Tensor) -> Result<Tensor> {
        let images = self.images.get(&pass).ok_or_else(|| {
            Error::new(format!("this loss did not ask for gradients by the images of the pass {pass:?}"))
                .help("list it in `input_gradients()`")
        })?;
        let gradient = differentiable_gradient(&values.f_sum(None::<Kind>)?, images);
        let gradient = gradient.map_err(|error| error.context("the gradient by the images").help(ONCE_ONLY))?;
        gradient.ok_or_else(|| {
            Error::new(format!("what is to be differentiated does not depend on the images of the pass {pass:?}"))
                .help(KEEP_THE_GRAPH)
        })
    }

    /// Logits of the clean images: of the pass `Clean`, `Together` or `CleanFirst`.
    ///
    /// # Errors
    /// When none of them was asked for.
    pub fn clean(&self) -> Result<&Tensor> {
        self.logits.get(&Forward::CleanFirst).map_or_else(|| self.logits(Forward::Clean), Ok)
    }

    /// Logits of the attacked images.
    ///
    /// # Errors
    /// When neither `Adversarial` nor `Together` was asked for.
    pub fn adversarial(&self) -> Result<&Tensor> {
        self.logits(Forward::Adversarial)
    }

    /// The images' indices in the training set, `[N]`, int64: the rows of what a loss keeps of
    /// each.
    ///
    /// # Errors
    /// When the input was made without them.
    pub fn index(&self) -> Result<&Tensor> {
        self.index.ok_or_else(|| Error::new("this input does not say which training images it has"))
    }

    /// The sum of `sum`, of any shape, over the ranks that share the batch; no gradient flows. It
    /// makes a sum over this rank's images one over the batch's.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn sum_over_ranks(&self, sum: &Tensor) -> Result<Tensor> {
        sum_over_ranks(self.world, sum)
    }

    /// The ranks that share the batch.
    pub fn world(&self) -> World {
        self.world
    }

    /// The mean of `values` `[N]` over the images of the batch on all ranks, `[]`; no gradient
    /// flows.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn mean_over_batch(&self, values: &Tensor) -> Result<Tensor> {
        self.sum_over_ranks(&(values.mean(values.kind()) * self.world.weight()))
    }

    /// A tensor that the attack provides by name, such as MMA's `weight`.
    ///
    /// # Errors
    /// When the attack does not provide it.
    pub fn side(&self, name: &str) -> Result<&Tensor> {
        self.side
            .get(name)
            .ok_or_else(|| Error::new(format!("the attack provides no `{name}`")).help("list it in `needs()`"))
    }

    /// A scheduled number now.
    pub fn now(&self, number: &Scheduled) -> Tensor {
        number.at(self.clock)
    }

    /// Checks that `loss` can be computed from this input: everything it asks for is present,
    /// logits are finite `[N, K]` with enough classes, and labels are in `0..K`.
    ///
    /// It reads tensors back to the host, so it is for tests and `foil probe`; a training step
    /// checks its labels once, when the data are loaded.
    ///
    /// # Errors
    /// The first problem found.
    pub fn check(&self, loss: &dyn Loss) -> Result<()> {
        let labels = self.y.size();
        let n = match labels[..] {
            [n] => n,
            [n, _] if loss.soft_labels() => n,
            _ => return Err(Error::new(format!("labels are {labels:?}, but must be [N]"))),
        };
        let soft = labels.len() == 2;
        if n == 0 || soft != (self.y.kind() != Kind::Int64) {
            return Err(Error::new(format!(
                "labels are {n} of {:?}, but must be at least one of Int64",
                self.y.kind()
            )));
        }
        for (pass, logits) in &self.logits {
            let shape = logits.size();
            let classes = match shape[..] {
                [rows, classes] if rows == n => classes,
                _ => return Err(Error::new(format!("logits of {pass:?} are {shape:?}, but must be [{n}, K]"))),
            };
            if classes < loss.least_classes() {
                let least = loss.least_classes();
                return Err(Error::new(format!("logits of {pass:?} have {classes} classes, but it needs {least}")));
            }
            if logits.isfinite().all().int64_value(&[]) == 0 {
                return Err(Error::new(format!("logits of {pass:?} are not all finite")));
            }
            if soft {
                if labels[1] != classes {
                    return Err(Error::new(format!("labels are {labels:?}, but must be [{n}, {classes}]")));
                }
                continue;
            }
            let (low, high) = (self.y.min().int64_value(&[]), self.y.max().int64_value(&[]));
            if low < 0 || high >= classes {
                let wrong = if low < 0 { low } else { high };
                return Err(Error::new(format!("label {wrong} is out of range"))
                    .help(format!("the logits have {classes} classes, so labels are 0 to {}", classes - 1)));
            }
        }
        loss.needs().into_iter().try_for_each(|name| self.side(name).map(drop))?;
        loss.passes().into_iter().try_for_each(|pass| match pass {
            Forward::CleanAfterUpdate => Ok(()),
            Forward::Together => self.clean().and(self.adversarial()).map(drop),
            pass => self.logits(pass).map(drop),
        })
    }
}

/// What to do about a gradient that cannot be differentiated.
pub(crate) const ONCE_ONLY: &str = "this loss differentiates gradients of the model again, so each of the model's \
    operations needs a second derivative: choose a model of foil's, or another loss";

/// See [`LossInput::sum_over_ranks`].
///
/// # Errors
/// When a rank is lost.
pub fn sum_over_ranks(world: World, sum: &Tensor) -> Result<Tensor> {
    // The images of a rank without a share do not count.
    let sum = (sum.detach() * if world.counts() { 1.0 } else { 0.0 }).contiguous();
    world.sum(&sum)?;
    Ok(sum)
}

/// A loss and its parts.
#[derive(Debug)]
pub struct LossOutput {
    /// The scalar to minimise, `[]`.
    pub total: Tensor,
    /// Named summands or diagnostics, `[]` each, for the log; gradients do not flow from them.
    pub parts: Vec<(&'static str, Tensor)>,
}

impl LossOutput {
    /// A loss without parts.
    pub fn new(total: Tensor) -> Self {
        Self { total, parts: Vec::new() }
    }

    /// Adds a named part.
    #[must_use]
    pub fn part(mut self, name: &'static str, value: &Tensor) -> Self {
        self.parts.push((name, value.detach()));
        self
    }
}

/// A training loss.
///
/// The contract: a fixed sequence of tensor operations without host reads; the total is a mean over
/// the batch's N images.
pub trait Loss: Send {
    /// The passes it needs, in order.
    fn passes(&self) -> Vec<Forward>;

    /// Names of the attack's side tensors it reads; `foil check` refuses an attack that does not
    /// provide them.
    fn needs(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The passes in [`Loss::passes`] by whose images it differentiates; see
    /// [`LossInput::input_gradient`]. They run in libtorch's operators alone, since foil's kernels
    /// have no second derivative. They are passes of the model between attack and update, and none
    /// of them is `Together`.
    fn input_gradients(&self) -> Vec<Forward> {
        Vec::new()
    }

    /// The smallest number of classes it is defined for.
    fn least_classes(&self) -> i64 {
        2
    }

    /// Whether it has a meaning for labels `[N, K]`, which give each class a share of the image, as
    /// mixup makes them: a cross-entropy has, a margin between the label and the other classes has
    /// none. `foil check` refuses others where images are mixed.
    fn soft_labels(&self) -> bool {
        false
    }

    /// Whether it obeys the contract, so that it can be captured in a CUDA graph; see
    /// [`crate::attack::Attack::capturable`].
    fn capturable(&self) -> bool {
        true
    }

    /// The loss.
    ///
    /// # Errors
    /// When an input it asked for is missing; tensor operations that fail are caught by the engine.
    fn forward(&self, input: &LossInput) -> Result<LossOutput>;

    /// Everything it keeps between steps, by name. The tensors share its memory: checkpoints copy
    /// from and into them. [`Loss::forward`] only reads them, since an update may compute the loss
    /// several times.
    fn state(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }

    /// Names in [`Loss::state`] whose rows belong to training images, `[train, …]` by index. Each
    /// image is visited by one rank per epoch, so ranks hold different rows until they are merged.
    /// All other state must be the same on every rank; [`LossInput::sum_over_ranks`] adds up what
    /// each found.
    fn per_image(&self) -> Vec<String> {
        Vec::new()
    }

    /// Called once a step, after the update, with the logits (without their graph) of its last
    /// gradient: here it changes its state, in place.
    ///
    /// # Errors
    /// As [`Loss::forward`].
    fn after_update(&mut self, input: &LossInput) -> Result<()> {
        let _ = input;
        Ok(())
    }

    /// Called after an epoch's last step; here it may change its state too.
    fn after_epoch(&mut self) {}
}
