//! Keyed random numbers in one launch in place of fifty operators (framework/cuda/noise.h).

use super::support::{has_kernels, is_contiguous};
use crate::cuda::{Grid, kernels};
use tch::{Kind, Tensor};

/// `[N, width]` hashes of `key` `[]`, `name`, `index` `[N]` and the place in the row: as `kind`
/// Int64 in `0..2^32`, as Float in `[0, 1)`.
pub(in crate::nn) fn noise(key: &Tensor, index: &Tensor, name: i64, width: i64, kind: Kind) -> Option<Tensor> {
    let (device, rows) = (index.device(), index.numel() as i64);
    let applies = is_contiguous(index, Kind::Int64, &[rows], device) && is_contiguous(key, Kind::Int64, &[], device);
    if !has_kernels(device) || !applies || rows * width == 0 || !matches!(kind, Kind::Int64 | Kind::Float) {
        return None;
    }
    let (n, out, columns) = (rows * width, Tensor::empty([rows, width], (kind, device)), i32::try_from(width).ok()?);
    let grid = Grid::Threads(n);
    match kind {
        Kind::Int64 => kernels::noise_bits(grid, key, index, name, columns, &out, n),
        _ => kernels::noise_uniform(grid, key, index, name, columns, &out, n),
    }
    .ok()?;
    Some(out)
}
