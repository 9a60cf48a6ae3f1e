//! What goes into a convolution, and the gradient on its way back from there to the batch norm in front.
//!
//! Where autograd watches, both are nodes of it. The convolution's kernel finds the two sums that batch norm's gradient takes of the gradient it writes, and leaves
//! them where batch norm's node looks.

use super::batch::Factors;
use super::groups::Groups;
use super::{Activated, Norm};
use std::sync::{Arc, Mutex, PoisonError};
use tch::Tensor;

/// What goes into a convolution: any images, or an activation, whose batch norm's gradient the convolution's can begin.
#[derive(Debug, Clone, Copy)]
pub enum Entering<'a> {
    /// `[N, C, H, W]`.
    Images(&'a Tensor),
    /// Its `out`.
    Activated(&'a Activated),
}

impl<'a> From<&'a Tensor> for Entering<'a> {
    fn from(images: &'a Tensor) -> Self {
        Entering::Images(images)
    }
}

impl<'a> From<&'a Activated> for Entering<'a> {
    fn from(activated: &'a Activated) -> Self {
        Entering::Activated(activated)
    }
}

impl<'a> Entering<'a> {
    /// The images themselves, `[N, C, H, W]`.
    pub fn images(self) -> &'a Tensor {
        match self {
            Entering::Images(images) => images,
            Entering::Activated(activated) => &activated.out,
        }
    }

    /// The batch norm in front, where autograd watches and the kernels apply.
    pub(super) fn front(self) -> Option<Front> {
        match self {
            Entering::Activated(Activated { norm: Norm::Watched(Some(front)), .. }) => Some(front.shallow_clone()),
            _ => None,
        }
    }
}

/// A batch norm and its ReLU, as the convolution behind them needs to know them for its gradient.
#[derive(Debug)]
pub(super) struct Front {
    /// What went into batch norm.
    xs: Tensor,
    /// Scale, shift and mean by channel.
    line: [Tensor; 3],
    sums: Sums,
}

impl Front {
    pub(super) fn new(xs: &Tensor, factors: &Factors, sums: &Sums) -> Self {
        let line = [factors.scale(), factors.shift(), factors.mean()];
        Self { xs: xs.shallow_clone(), line, sums: sums.clone() }
    }

    fn shallow_clone(&self) -> Self {
        let line = self.line.each_ref().map(Tensor::shallow_clone);
        Self { xs: self.xs.shallow_clone(), line, sums: self.sums.clone() }
    }

    /// The gradient behind the ReLU that `work` makes, given what went into batch norm and its scale, shift and mean, with its sums, which wait for batch norm.
    pub(super) fn begin(&self, work: impl FnOnce(&Tensor, [&Tensor; 3]) -> Option<(Tensor, Groups)>) -> Option<Tensor> {
        let (gradient, groups) = work(&self.xs, self.line.each_ref())?;
        *self.sums.lock() = Some((gradient.shallow_clone(), groups));
        Some(gradient)
    }
}

/// Where sums of a gradient wait, with the gradient.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums(Arc<Mutex<Option<(Tensor, Groups)>>>);

impl Sums {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Tensor, Groups)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of `gradient`. Where something else used the activation too, autograd gives batch norm the sum of both gradients: other memory, because autograd
    /// adds nothing in place to a tensor that is held elsewhere, as the one here is.
    pub(super) fn take(&self, gradient: &Tensor) -> Option<Groups> {
        let (made, groups) = self.lock().take()?;
        (made.data_ptr() == gradient.data_ptr() && made.size() == gradient.size()).then_some(groups)
    }
}
