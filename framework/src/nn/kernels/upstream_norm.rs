//! The batch norm and ReLU in front of a convolution, as the convolution's gradient needs them.
//!
//! Where autograd is on, both are nodes of it. The convolution's kernel finds the two sums that
//! batch norm's gradient takes of the gradient it writes, and leaves them where batch norm's node
//! looks.

use super::{BatchFactors, PartialSums};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tch::Tensor;

/// A batch norm and its ReLU, for the gradient of the convolution behind them.
#[derive(Debug)]
pub(in crate::nn) struct UpstreamNorm {
    /// Batch norm's input.
    xs: Tensor,
    /// Scale, shift and mean by channel.
    factors: [Tensor; 3],
    sums: GradSumCell,
}

impl UpstreamNorm {
    pub(in crate::nn) fn new(xs: &Tensor, factors: &BatchFactors, sums: &GradSumCell) -> Self {
        Self { xs: xs.shallow_clone(), factors: factors.scale_shift_mean(), sums: sums.clone() }
    }

    pub(in crate::nn) fn shallow_clone(&self) -> Self {
        let factors = self.factors.each_ref().map(Tensor::shallow_clone);
        Self { xs: self.xs.shallow_clone(), factors, sums: self.sums.clone() }
    }

    /// The convolution's input gradient by `conv_backward`, which is given batch norm's input with
    /// its scale, shift and mean, and also finds batch norm's sums; those are left in the cell.
    pub(in crate::nn) fn conv_backward(
        &self,
        conv_backward: impl FnOnce(&Tensor, [&Tensor; 3]) -> Option<(Tensor, PartialSums)>,
    ) -> Option<Tensor> {
        let (gradient, sums) = conv_backward(&self.xs, self.factors.each_ref())?;
        *self.sums.lock() = Some((gradient.shallow_clone(), sums));
        Some(gradient)
    }
}

/// Where the sums of a gradient wait for batch norm's node, beside that gradient.
#[derive(Debug, Clone, Default)]
pub(in crate::nn) struct GradSumCell(Arc<Mutex<Option<(Tensor, PartialSums)>>>);

impl GradSumCell {
    fn lock(&self) -> MutexGuard<'_, Option<(Tensor, PartialSums)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sums, if they are those of `gradient`. Where something else used the activation too,
    /// autograd gives batch norm the sum of both gradients. That is other memory, because autograd
    /// adds nothing in place to a tensor that is held elsewhere, as the one here is.
    pub(in crate::nn) fn take(&self, gradient: &Tensor) -> Option<PartialSums> {
        let (of, sums) = self.lock().take()?;
        (of.data_ptr() == gradient.data_ptr() && of.size() == gradient.size()).then_some(sums)
    }
}
