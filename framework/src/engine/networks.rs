//! Networks besides the model: teachers and helpers, frozen or learning.

use super::{Learner, Network};
use crate::nn::{Mode, Noise};
use crate::{Error, Result};
use std::collections::BTreeMap;
use tch::Tensor;

/// A network besides the model.
#[derive(Debug)]
pub enum Further {
    /// It does not change: it runs in eval mode, without gradients of its parameters.
    Frozen(Network),
    /// It learns from the loss: it runs in train mode, and takes a step when the model does.
    Learning(Learner),
}

impl Further {
    /// The network.
    pub fn network(&self) -> &Network {
        match self {
            Self::Frozen(network) => network,
            Self::Learning(learner) => learner.network(),
        }
    }
}

/// The networks besides the model, by name.
#[derive(Debug, Default)]
pub struct Networks(BTreeMap<String, Further>);

impl Networks {
    /// These networks.
    pub fn new(networks: BTreeMap<String, Further>) -> Self {
        Self(networks)
    }

    /// The network called `name`.
    ///
    /// # Errors
    /// When there is none; names those there are.
    pub fn get(&self, name: &str) -> Result<&Further> {
        self.0.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let there_are = if known.is_empty() { "has none".into() } else { format!("has {}", known.join(", ")) };
            Error::new(format!("there is no network called `{name}`: `networks` {there_are}"))
                .help(format!("write `networks: {{ {name}: {{ model: …, init: … }} }}`"))
        })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Further)> {
        self.0.iter().map(|(name, further)| (name.as_str(), further))
    }

    /// Those that learn, by name.
    pub fn learners(&self) -> impl Iterator<Item = (&str, &Learner)> {
        self.iter().filter_map(|(name, further)| match further {
            Further::Frozen(_) => None,
            Further::Learning(learner) => Some((name, learner)),
        })
    }

    pub(super) fn learners_mut(&mut self) -> impl Iterator<Item = &mut Learner> {
        self.0.values_mut().filter_map(|further| match further {
            Further::Frozen(_) => None,
            Further::Learning(learner) => Some(learner),
        })
    }

    /// Logits `[N, K]` of `xs` for the loss. A frozen network runs in eval mode; one that learns in
    /// `mode`, and the logits are differentiable.
    pub(super) fn pass(&self, name: &str, xs: &Tensor, mode: Mode, noise: &Noise) -> Result<Tensor> {
        Ok(match self.get(name)? {
            Further::Frozen(network) => tch::no_grad(|| network.frozen(xs, Mode::Eval, Some(noise))),
            Further::Learning(learner) => learner.network().differentiable(xs, mode, Some(noise)),
        })
    }

    /// The tensors of those that learn, by name with `prefix`, sharing their memory.
    pub fn state(&self, prefix: &str) -> Vec<(String, Tensor)> {
        self.learners().flat_map(|(name, learner)| learner.state(&format!("{prefix}{name}."))).collect()
    }
}
