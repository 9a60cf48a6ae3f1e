//! Random numbers by one CUDA kernel (framework/cuda/noise.h) in place of fifty operators: `None` where it does not apply.

#![allow(unsafe_code)]

use super::kernels::{is_dense, is_new_enough};
use crate::engine::cuda::{Grid, Kernel, arguments};
use tch::{Kind, Tensor};

/// `[N, width]` hashes of `key` `[]`, `name`, `index` `[N]` and the place in the row: as `kind` Int64 in `0..2^32`, as Float in `[0, 1)`.
pub(in crate::nn) fn noise(key: &Tensor, index: &Tensor, name: i64, width: i64, kind: Kind) -> Option<Tensor> {
    let (device, rows) = (index.device(), index.numel() as i64);
    let fits = is_dense(index, Kind::Int64, &[rows], device) && is_dense(key, Kind::Int64, &[], device);
    let called = match kind {
        Kind::Int64 => "noise_bits",
        Kind::Float => "noise_uniform",
        _ => return None,
    };
    if !is_new_enough(device) || !fits || rows * width == 0 {
        return None;
    }
    let kernel = Kernel::named(called).ok()?;
    let (n, out) = (rows * width, Tensor::empty([rows, width], (kind, device)));
    let arguments = arguments![key, index, name, i32::try_from(width).ok()?, &out, n];
    // # Safety
    // The declaration is (long*, long*, long, int, long* or float*, long); kinds and sizes are checked above.
    unsafe { kernel.launch(Grid::Each(n), &arguments) }.ok()?;
    Some(out)
}
