//! Images to vectors and back (framework/cuda/transpose.h).

use super::support::{is_contiguous, supports};
use crate::cuda::{Grid, kernels};
use tch::Tensor;

/// Side of the square that a block transposes.
const SIDE: u64 = 32;

/// `xs` `[N, C, H, W]`, channels-last, as `[N, C·H·W]` with one channel after the other.
pub(in crate::nn) fn flatten(xs: &Tensor) -> Option<Tensor> {
    if !supports(&[xs]) {
        return None;
    }
    let (n, c, h, w) = xs.size4().ok()?;
    let out = Tensor::empty([n, c * h * w], (xs.kind(), xs.device()));
    transpose(xs, &out, n, [h * w, c])?;
    Some(out)
}

/// The other way round: `flat` in the shape and layout of `like`.
pub(in crate::nn) fn unflatten(flat: &Tensor, like: &Tensor) -> Option<Tensor> {
    let (n, c, h, w) = like.size4().ok()?;
    if !supports(&[like]) || !is_contiguous(flat, like.kind(), &[n, c * h * w], like.device()) {
        return None;
    }
    let out = like.empty_like();
    transpose(flat, &out, n, [c, h * w])?;
    Some(out)
}

/// `from` as `n` matrices of this many rows and columns, transposed into `to`.
fn transpose(from: &Tensor, to: &Tensor, n: i64, [rows, columns]: [i64; 2]) -> Option<()> {
    let squares = (rows as u64).div_ceil(SIDE) * (columns as u64).div_ceil(SIDE);
    kernels::transpose(Grid::Blocks([squares as i64, n]), from, to, rows as i32, columns as i32).ok()
}
