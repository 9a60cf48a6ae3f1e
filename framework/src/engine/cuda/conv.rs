//! The convolution of framework/cuda/conv_sm90.cu.

use super::functions;
use crate::{Error, Result};
use std::ffi::c_void;
use tch::{Device, Tensor};

/// Writes to `out` the 3 x 3 convolution, stride 1, padding 1, of `images` with `weight`, or with `turned` its input gradient from `images`, the
/// output's. It runs on this thread's stream and finds the same bits each time.
///
/// # Safety
/// `images` and `out` are `[N, C, S, S]`, `weight` is `[C, C, 3, 3]`, with S one of 32, 16, 8, 4 and C = 2048 / S; all are bf16, channels-last, at multiples of 16 bytes,
/// and on the current device, whose compute capability is 9.0.
///
/// # Errors
/// When a tensor is not on CUDA, or what CUDA reports.
pub(crate) unsafe fn convolve(images: &Tensor, weight: &Tensor, out: &Tensor, turned: bool) -> Result<()> {
    if [images, weight, out].iter().any(|tensor| !matches!(tensor.device(), Device::Cuda(_))) {
        return Err(Error::new("a convolution for CUDA was given a tensor that is elsewhere"));
    }
    let f = functions()?;
    let [from, by, to]: [*mut c_void; 3] = [images, weight, out].map(|tensor| tensor.data_ptr());
    let (n, side) = (images.size()[0], images.size()[3]);
    let n = i32::try_from(n).map_err(|_| Error::new("a batch is too large for one launch"))?;
    // # Safety
    // By this function's contract.
    f.check(unsafe { (f.conv)(from, by, to, n, side as i32, i32::from(turned)) })
}
