//! A step of SGD in one pass over memory.

use super::support::{has_kernels, is_contiguous};
use crate::cuda::{Grid, kernels};
use tch::{Kind, Tensor};

/// One step of SGD with momentum, in place. With g = `gradient` + `decay` · `values`:
/// `velocity` = `momentum` · `velocity` + g, and `values` falls by `rate` · `velocity`, or with
/// `nesterov` by `rate` · (g + `momentum` · `velocity`). All are flat, `[P]`.
///
/// False where there is no kernel for them (off CUDA, or not float32): nothing was done.
pub fn sgd_step(
    [values, gradient, velocity]: [&Tensor; 3],
    rate: &Tensor,
    [momentum, decay]: [f64; 2],
    nesterov: bool,
) -> bool {
    let device = values.device();
    let is_flat = |t: &Tensor| is_contiguous(t, Kind::Float, &values.size(), device);
    let is_scalar = rate.kind() == Kind::Double && rate.numel() == 1 && rate.device() == device;
    if !has_kernels(device) || ![values, gradient, velocity].into_iter().all(is_flat) || !is_scalar {
        return false;
    }
    let (n, [momentum, decay]) = (values.numel() as i64, [momentum as f32, decay as f32]);
    kernels::sgd(Grid::Threads(n), values, gradient, velocity, rate, momentum, decay, nesterov.into(), n).is_ok()
}
