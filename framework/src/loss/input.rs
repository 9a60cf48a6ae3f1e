//! What a loss gets.

use super::{Forward, ImageSet, Loss};
use crate::distributed::World;
use crate::nn::{KEEP_THE_GRAPH, differentiable_gradient};
use crate::scheduler::{Clock, Scheduled};
use crate::{Error, Result};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// The input of a loss.
#[derive(Debug)]
pub struct LossInput<'a> {
    pub(crate) logits: BTreeMap<Forward, Tensor>,
    /// The images of the passes in [`Loss::input_gradients`].
    leaves: BTreeMap<Forward, Tensor>,
    features: BTreeMap<(Forward, &'static str), Tensor>,
    /// Sets of images.
    images: BTreeMap<ImageSet, Tensor>,
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
        Self {
            logits,
            leaves: BTreeMap::new(),
            features: BTreeMap::new(),
            images: BTreeMap::new(),
            y,
            side,
            clock,
            index: None,
            world: World::alone(),
        }
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
    pub fn of_leaves(self, leaves: BTreeMap<Forward, Tensor>) -> Self {
        Self { leaves, ..self }
    }

    /// The same, with what the model named in its passes.
    #[must_use]
    pub fn of_features(self, features: BTreeMap<(Forward, &'static str), Tensor>) -> Self {
        Self { features, ..self }
    }

    /// The same, with sets of images `[N, C, H, W]`.
    #[must_use]
    pub fn of_sets(self, images: BTreeMap<ImageSet, Tensor>) -> Self {
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

    /// d(sum of `values`)/d(images of `pass`), `[N, C, H, W]`, where `values` are computed from
    /// that pass's logits, such as each image's cross-entropy `[N]`. It is differentiable by the
    /// network's parameters; [`Tensor::detach`] makes it a constant.
    ///
    /// # Errors
    /// When [`Loss::input_gradients`] does not list the pass, when the values do not depend on its
    /// images, and when the model has an operation without second derivative.
    pub fn input_gradient(&self, pass: Forward, values: &Tensor) -> Result<Tensor> {
        let gradient = differentiable_gradient(&values.f_sum(None::<Kind>)?, self.leaf(pass)?);
        let gradient = gradient.map_err(|error| error.context("the gradient by the images").help(ONCE_ONLY))?;
        gradient.ok_or_else(|| {
            Error::new(format!("what is to be differentiated does not depend on the images of the pass {pass:?}"))
                .help(KEEP_THE_GRAPH)
        })
    }

    /// The images by which [`LossInput::input_gradient`] differentiates, `[N, C, H, W]`: the leaf
    /// that the logits of `pass` were computed from.
    ///
    /// # Errors
    /// When [`Loss::input_gradients`] does not list the pass.
    pub fn leaf(&self, pass: Forward) -> Result<&Tensor> {
        self.leaves.get(&pass).ok_or_else(|| {
            Error::new(format!("this loss did not ask for gradients by the images of the pass {pass:?}"))
                .help("list it in `input_gradients()`")
        })
    }

    /// What the model named `name` in a pass, such as `penultimate`, `[N, D]`, with its gradient.
    ///
    /// # Errors
    /// When [`Loss::features`] does not list it.
    pub fn feature(&self, pass: Forward, name: &'static str) -> Result<&Tensor> {
        self.features.get(&(pass, name)).ok_or_else(|| {
            Error::new(format!("this loss did not ask for the feature `{name}` of the pass {pass:?}"))
                .help("list it in `features()`")
        })
    }

    /// A set of images, `[N, C, H, W]` in [0, 1], without gradient: the clean ones, the attacked
    /// ones, or those that the attack makes besides.
    ///
    /// # Errors
    /// When the input does not have that set.
    pub fn images(&self, set: ImageSet) -> Result<&Tensor> {
        self.images.get(&set).ok_or_else(|| Error::new(format!("this input does not have the images {set:?}")))
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
