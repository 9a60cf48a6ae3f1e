//! A network with its optimiser: the model itself, or an attack's own network such as CAT's mask g.

use super::Network;
use super::lap;
use crate::Result;
use crate::distributed::World;
use crate::nn::{Gradients, Parameters, Span};
use crate::optim::Optimizer;
use crate::plugin::Held;
use crate::scheduler::{Clock, Progress};
use std::cell::Cell;
use tch::Tensor;

/// A network that learns.
pub struct Learner {
    network: Network,
    /// In a `Held` for the same reason as the network's model.
    optimizer: Held<dyn Optimizer>,
    /// The longest gradient.
    clip: Option<f64>,
    spans: Vec<Span>,
    keeps: Cell<bool>,
    last: Option<Gradients>,
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.network.fmt(f)
    }
}

impl Learner {
    /// Allocates the optimiser's state on the network's device, unless the build is dry.
    pub fn new(network: Network, mut optimizer: Box<dyn Optimizer>) -> Self {
        let spans = network.params().spans();
        if network.params().is_initialised() {
            optimizer.prepare(network.params().flat(), &spans);
        }
        let optimizer = Held::new(optimizer);
        Self { network, optimizer, clip: None, spans, keeps: false.into(), last: None }
    }

    /// Scales a gradient of more than this Euclidean norm, over all parameters, down to it.
    #[must_use]
    pub fn clipping(self, norm: Option<f64>) -> Self {
        Self { clip: norm, ..self }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// One step down `loss`, a mean over the batch's images; returns the gradient, flat. With
    /// several ranks, each passes the mean over its share, and all descend the mean over the whole
    /// batch.
    ///
    /// # Errors
    /// When `loss` is not a differentiable scalar or does not depend on the network, or when a rank
    /// is lost.
    pub fn descend(&mut self, loss: &Tensor, clock: &Clock) -> Result<Gradients> {
        let params = [self.network.params()];
        let gradients = gradients_over(&params, None, loss, self.network.world())?.0.remove(0);
        lap("backward");
        Ok(self.apply(gradients, clock))
    }

    /// The optimiser's step with these gradients; returns them, clipped if they are to be.
    pub(super) fn apply(&mut self, gradients: Gradients, clock: &Clock) -> Gradients {
        if let Some(longest) = self.clip {
            // As torch.nn.utils.clip_grad_norm_.
            let share = (longest / (gradients.0.norm() + 1e-6)).clamp_max(1.0);
            let _ = gradients.0.shallow_clone().g_mul_(&share);
        }
        tch::no_grad(|| self.optimizer.update(self.network.params().flat(), &gradients.0, clock));
        self.network.params().refresh_bf16_copy();
        lap("update");
        if self.keeps.get() {
            self.last = Some(Gradients(gradients.0.shallow_clone()));
        }
        gradients
    }

    /// Where each parameter lies in the flat tensor of all.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Keeps the gradient of every later [`Learner::descend`] for [`Learner::last_gradients`]; for
    /// `foil probe`.
    pub fn keep_gradients(&self) {
        self.keeps.set(true);
    }

    /// The gradient of the last step, if [`Learner::keep_gradients`] was called.
    pub fn last_gradients(&self) -> Option<&Gradients> {
        self.last.as_ref()
    }

    /// The learning rate at some progress.
    pub fn learning_rate(&self, progress: &Progress) -> f64 {
        self.optimizer.learning_rate(progress)
    }

    /// All its tensors, by name with `prefix`, sharing its memory.
    pub fn state(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let network = self.network.params().storage().into_iter();
        let optimizer = self.optimizer.state().into_iter().map(|(name, t)| (format!("optimizer.{name}"), t));
        network.chain(optimizer).map(|(name, t)| (format!("{prefix}{name}"), t)).collect()
    }
}

/// The gradients of `loss` by several networks' parameters and by `images`, in one backward pass;
/// with several ranks, each of which passes the mean over its share, those of the mean over the
/// whole batch.
///
/// # Errors
/// When `loss` is not a differentiable scalar or does not depend on the first network, or when a
/// rank is lost.
pub(super) fn gradients_over(
    params: &[&Parameters],
    images: Option<&Tensor>,
    loss: &Tensor,
    world: World,
) -> Result<(Vec<Gradients>, Option<Tensor>)> {
    if !world.is_joined() {
        return Parameters::gradients_of(params, images, loss);
    }
    // Weighted before the backward pass: synchronised batch norm adds other ranks' gradients to
    // this one's on the way.
    let (mut all, by_images) = Parameters::gradients_of(params, images, &(loss * world.weight()))?;
    for gradients in &mut all {
        if !world.counts() {
            let _ = gradients.0.zero_();
        }
        world.sum(&gradients.0)?;
    }
    Ok((all, by_images))
}
