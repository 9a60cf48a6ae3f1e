//! Gradients of objectives with respect to the logits (framework/cuda/slopes.h), one launch each.

use super::support::{has_kernels, is_contiguous};
use crate::cuda::{Grid, kernels};
use tch::{Kind, Tensor};

/// Rows of a block.
const ROWS: u64 = 8;

/// The blocks for this many rows of logits.
pub(super) fn grid(rows: i64) -> Grid {
    Grid::Blocks([(rows as u64).div_ceil(ROWS) as i64, 1])
}

/// An objective with a kernel, and what it needs besides the logits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ObjectiveKernel<'a> {
    /// Cross-entropy with labels `[N]`.
    CrossEntropy(&'a Tensor),
    /// KL from the clean logits `[N, K]`.
    Kl(&'a Tensor),
    /// The soft logit margin of labels `[N]`.
    SoftLogitMargin(&'a Tensor),
    /// Carlini and Wagner's hinged margin of labels `[N]`, with kappa.
    HingedMargin(&'a Tensor, f64),
}

/// d(value)/d(`logits`), `[N, K]`, fp32.
pub(crate) fn logit_grad(logits: &Tensor, objective: ObjectiveKernel) -> Option<Tensor> {
    let (rows, classes) = logits.size2().ok()?;
    let device = logits.device();
    let are_labels = |y: &Tensor| is_contiguous(y, Kind::Int64, &[rows], device);
    let are_logits = |t: &Tensor| is_contiguous(t, Kind::Float, &[rows, classes], device) && !t.requires_grad();
    let applies = match objective {
        ObjectiveKernel::Kl(clean) => are_logits(clean),
        ObjectiveKernel::CrossEntropy(y)
        | ObjectiveKernel::SoftLogitMargin(y)
        | ObjectiveKernel::HingedMargin(y, _) => are_labels(y),
    };
    if !has_kernels(device) || !applies || !are_logits(logits) || rows * classes == 0 {
        return None;
    }
    let (grid, out, classes) = (grid(rows), logits.empty_like(), i32::try_from(classes).ok()?);
    match objective {
        ObjectiveKernel::CrossEntropy(y) => kernels::ce_slope(grid, logits, y, &out, rows, classes),
        ObjectiveKernel::Kl(clean) => kernels::kl_slope(grid, logits, clean, &out, rows, classes),
        ObjectiveKernel::SoftLogitMargin(y) => kernels::slm_slope(grid, logits, y, &out, rows, classes),
        ObjectiveKernel::HingedMargin(y, kappa) => {
            kernels::cw_slope(grid, logits, y, kappa as f32, &out, rows, classes)
        }
    }
    .ok()?;
    Some(out)
}
