//! The loss trait: what a training step minimises. Each row of Table 9 is one, and it is what a
//! newcomer writes first.
//!
//! A loss is a pure function. It lists the forward passes it needs, in order (batch norm's running
//! statistics depend on it), and gets their logits with the labels. The engine runs the passes in
//! train mode. A loss may keep something between steps, such as soft labels of each image; it reads
//! that in [`Loss::forward`], and writes it in [`Loss::after_update`] and [`Loss::after_epoch`].

mod input;
pub mod terms;

pub(crate) use input::ONCE_ONLY;
pub use input::{LossInput, sum_over_ranks};

use crate::Result;
use tch::Tensor;

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

    /// What it reads of what the model computes on the way to its logits: passes of
    /// [`Loss::passes`] and names that the model gives with
    /// [`Pass::feature`](crate::nn::Pass::feature); see [`LossInput::feature`]. They are passes of
    /// the model between attack and update, and none of them is `Together`.
    fn features(&self) -> Vec<(Forward, &'static str)> {
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
