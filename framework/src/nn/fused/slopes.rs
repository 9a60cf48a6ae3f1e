//! Slopes of objectives by CUDA kernels (framework/cuda/slopes.h), one launch each: `None` where they do not apply.

#![allow(unsafe_code)]

use super::kernels::{is_dense, is_new_enough};
use crate::engine::cuda::{Grid, Kernel, arguments};
use tch::{Kind, Tensor};

/// Rows of a block.
const ROWS: u64 = 8;

pub(super) fn blocks(rows: i64) -> Grid {
    Grid::Blocks([(rows as u64).div_ceil(ROWS) as i64, 1])
}

/// Which objective's; what is borrowed is `[N]` int64 labels or `[N, K]` logits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slope<'a> {
    Ce(&'a Tensor),
    Kl(&'a Tensor),
    Slm(&'a Tensor),
    Cw(&'a Tensor, f64),
}

/// d(value)/d(`logits`), `[N, K]`, fp32.
pub(crate) fn slope(logits: &Tensor, of: Slope) -> Option<Tensor> {
    let (rows, classes) = logits.size2().ok()?;
    let device = logits.device();
    let labels = |y: &Tensor| is_dense(y, Kind::Int64, &[rows], device);
    let alike = |t: &Tensor| is_dense(t, Kind::Float, &[rows, classes], device) && !t.requires_grad();
    let (called, fits, other) = match of {
        Slope::Ce(y) => ("ce_slope", labels(y), y),
        Slope::Kl(clean) => ("kl_slope", alike(clean), clean),
        Slope::Slm(y) => ("slm_slope", labels(y), y),
        Slope::Cw(y, _) => ("cw_slope", labels(y), y),
    };
    if !is_new_enough(device) || !fits || !alike(logits) || rows * classes == 0 {
        return None;
    }
    let kernel = Kernel::named(called).ok()?;
    let out = logits.empty_like();
    let mut arguments = arguments![logits, other].to_vec();
    if let Slope::Cw(_, kappa) = of {
        arguments.extend(arguments![kappa as f32]);
    }
    arguments.extend(arguments![&out, rows, i32::try_from(classes).ok()?]);
    // # Safety
    // The declarations are (float*, long* or float*, float*, long, int), for `cw_slope` with a float in third place; checked above.
    unsafe { kernel.launch(blocks(rows), &arguments) }.ok()?;
    Some(out)
}
