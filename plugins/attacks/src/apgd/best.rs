//! What a run of APGD has seen so far.

use super::{Begin, Found};
use crate::apgd::run::{Run, wide};
use foil::prelude::*;

/// One look at the network.
pub(super) struct Look {
    /// `[N, C, H, W]`.
    pub gradient: Tensor,
    /// The objective, `[N]`.
    pub value: Tensor,
    /// Whether the point is misclassified, `[N]` bool.
    pub wrong: Tensor,
}

impl Run {
    pub(super) fn look(&self, target: &Target, x: &Tensor, y: &Tensor, clean: Option<&Tensor>) -> Look {
        let value = |logits: &Tensor| self.objective.value(logits, Reference { y, clean });
        let ascent = target.gradient(x, Mode::Eval, &value);
        let reached = value(&ascent.logits);
        let wrong = ascent.logits.argmax(-1, false).ne_tensor(&terms::hard_labels(y));
        Look { gradient: ascent.gradient, value: reached, wrong }
    }

    /// Where a run starts: the image, or `random` of the name of this run's draw.
    pub(super) fn begin(&self, batch: &Batch, random: impl FnOnce(&str) -> Tensor) -> Tensor {
        match self.of.start {
            Begin::Random => random(&format!("{}.start", self.name)),
            Begin::None => batch.x.shallow_clone(),
        }
    }
}

/// The best points of each image, and whether it is broken.
pub(super) struct Best {
    pub x: Tensor,
    pub gradient: Tensor,
    /// The largest objective, `[N]`.
    pub value: Tensor,
    wrong_x: Tensor,
    /// `[N]` bool.
    pub broken: Tensor,
}

impl Best {
    /// Of one point.
    pub fn of(x: &Tensor, look: &Look) -> Self {
        let copy = Tensor::shallow_clone;
        let (gradient, value, broken) = (copy(&look.gradient), copy(&look.value), copy(&look.wrong));
        Self { x: copy(x), gradient, value, wrong_x: copy(x), broken }
    }

    /// With one more.
    pub fn note(&mut self, x: &Tensor, look: &Look) {
        self.wrong_x = x.where_self(&wide(&look.wrong), &self.wrong_x);
        self.broken = self.broken.logical_or(&look.wrong);
        let better = look.value.gt_tensor(&self.value);
        self.x = x.where_self(&wide(&better), &self.x);
        self.gradient = look.gradient.where_self(&wide(&better), &self.gradient);
        self.value = look.value.where_self(&better, &self.value);
    }

    /// What is returned.
    pub fn found(&self, keep: Found) -> Tensor {
        match keep {
            Found::Broken => self.wrong_x.where_self(&wide(&self.broken), &self.x),
            Found::Worst => self.x.shallow_clone(),
        }
    }

    pub fn rows(self, rows: &Tensor) -> Self {
        let pick = |t: Tensor| t.index_select(0, rows);
        Self {
            x: pick(self.x),
            gradient: pick(self.gradient),
            value: pick(self.value),
            wrong_x: pick(self.wrong_x),
            broken: pick(self.broken),
        }
    }
}
