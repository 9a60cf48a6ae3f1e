//! A step of SGD in one pass over memory.

use super::support::{has_kernels, is_contiguous};
use crate::engine::cuda::{Grid, kernels};
use tch::{Kind, Tensor};

/// One step of SGD with momentum, in place. With g = `gradient` + `decay` · `values`:
/// `velocity` = `momentum` · `velocity` + g, and `values` falls by `rate` · `velocity`, or with
/// `nesterov` by `rate` · (g + `momentum` · `velocity`).
pub(crate) fn sgd(
    [values, gradient, velocity]: [&Tensor; 3],
    rate: &Tensor,
    [momentum, decay]: [f64; 2],
    nesterov: bool,
) -> Option<()> {
    let device = values.device();
    let is_flat = |t: &Tensor| is_contiguous(t, Kind::Float, &values.size(), device);
    let is_scalar = rate.kind() == Kind::Double && rate.numel() == 1 && rate.device() == device;
    if !has_kernels(device) || ![values, gradient, velocity].into_iter().all(is_flat) || !is_scalar {
        return None;
    }
    let (n, [momentum, decay]) = (values.numel() as i64, [momentum as f32, decay as f32]);
    kernels::sgd(Grid::Threads(n), values, gradient, velocity, rate, momentum, decay, nesterov.into(), n).ok()
}
