//! All batch norms in eval mode as affine maps, in one launch.

#![allow(unsafe_code)]

use super::support::{has_kernels, is_contiguous};
use crate::cuda::{Grid, kernels};
use tch::{Kind, Tensor};

/// Scale and shift of every batch norm with its running statistics, `[n]` each, norm by norm. The
/// four `positions` `[n]` say where weights and biases lie in `values`, and means and variances in
/// `stats`.
pub(in crate::nn) fn fold_norms(values: &Tensor, stats: &Tensor, positions: [&Tensor; 4], eps: f64) -> [Tensor; 2] {
    fold_norms_kernel(values, stats, positions, eps).unwrap_or_else(|| {
        let [weight, bias, mean, var] = positions;
        let of = |flat: &Tensor, positions: &Tensor| flat.index_select(0, positions);
        let scale = of(values, weight) * (of(stats, var) + eps).rsqrt();
        let shift = of(values, bias) - of(stats, mean) * &scale;
        [scale, shift]
    })
}

fn fold_norms_kernel(values: &Tensor, stats: &Tensor, positions: [&Tensor; 4], eps: f64) -> Option<[Tensor; 2]> {
    let (device, n) = (values.device(), positions[0].numel() as i64);
    let are_flat = [values, stats].iter().all(|t| is_contiguous(t, Kind::Float, &t.size(), device));
    let are_placed = positions.iter().all(|at| is_contiguous(at, Kind::Int64, &[n], device));
    if !has_kernels(device) || !are_flat || !are_placed || n == 0 {
        return None;
    }
    let folded = [(); 2].map(|()| Tensor::empty([n], (Kind::Float, device)));
    let ([weight, bias, mean, var], [scale, shift], eps) = (positions, &folded, eps as f32);
    // SAFETY: `Parameters` made the positions, which lie inside `values` and `stats`.
    unsafe { kernels::fold_norms(Grid::Threads(n), values, stats, weight, bias, mean, var, eps, scale, shift, n) }
        .ok()?;
    Some(folded)
}
