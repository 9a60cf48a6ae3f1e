//! The convolution of framework/cuda/conv_sm90.cu.

use super::{functions, stand_in, told};
use crate::{Error, Result};
use std::ffi::{CString, c_void};
use tch::{Device, Tensor};

/// A 3 x 3 convolution, stride 1, padding 1, or the input gradient of one, and what becomes of its
/// numbers before they are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Convolution<'a> {
    /// The name of the kernel behind `conv_32`, such as `_turned_mask`; the rest is what it takes
    /// (framework/cuda/conv_shape.h).
    pub kernel: &'static str,
    /// `[N, C, S, S]`: the input, or the output's gradient.
    pub images: &'a Tensor,
    /// `[C, C, 3, 3]`.
    pub weight: &'a Tensor,
    /// `[N, C, S, S]`: what is written.
    pub out: &'a Tensor,
    /// `[N, C, S, S]`: what the numbers meet, and what they are then added to, or where a sum is
    /// kept.
    pub beside: [Option<&'a Tensor>; 2],
    /// Scale, shift and mean, fp32 `[C]` each.
    pub by_channel: [Option<&'a Tensor>; 3],
    /// Two fp32 numbers for each group of pixels and channel, `[groups, C, 2]`: what is found.
    pub groups: Option<&'a Tensor>,
}

impl Convolution<'_> {
    /// Runs it on this thread's stream. It finds the same bits each time.
    ///
    /// # Safety
    /// Shapes are the above, with S one of 32, 16, 8, 4 and C = 2048 / S, and what the kernel takes
    /// is there. Images and weight are bf16, channels-last and begin at multiples of 16 bytes, the
    /// rest is fp32 and contiguous. All are on the current device, whose compute capability is 9.0,
    /// or in a test where a stand-in reads them.
    ///
    /// # Errors
    /// When a tensor is not on CUDA, or what CUDA reports.
    pub(crate) unsafe fn launch(self) -> Result<()> {
        let ([beside, other], [scale, shift, mean]) = (self.beside, self.by_channel);
        let images = [self.images, self.weight, self.out].map(Some);
        let given = [images[0], images[1], images[2], beside, other, scale, shift, mean, self.groups];
        let reaches = |tensor: &Tensor| matches!(tensor.device(), Device::Cuda(_)) || stand_in::convolves();
        if !given.into_iter().flatten().all(reaches) {
            return Err(Error::new("a convolution for CUDA was given a tensor that is elsewhere"));
        }
        let at = |tensor: Option<&Tensor>| tensor.map_or(std::ptr::null_mut(), |tensor| tensor.data_ptr());
        let pointers: [*mut c_void; 9] = given.map(at);
        let (n, side) = (self.images.size()[0], self.images.size()[3] as i32);
        let n = i32::try_from(n).map_err(|_| Error::new("a batch is too large for one launch"))?;
        let name = format!("conv_{side}{}", self.kernel);
        // # Safety
        // By this function's contract; in a test memory is the CPU's.
        if unsafe { stand_in::convolve(&name, &pointers, n, side) } {
            return Ok(());
        }
        let [images, weight, out, beside, other, scale, shift, mean, groups] = pointers;
        let name = CString::new(name).map_err(Error::of)?;
        let f = functions()?;
        // # Safety
        // By this function's contract; the name outlives the call.
        told(f.check(unsafe {
            (f.conv)(
                name.as_ptr(),
                images,
                weight,
                out,
                beside,
                other,
                scale.cast(),
                shift.cast(),
                mean.cast(),
                groups.cast(),
                n,
                side,
            )
        }))
    }
}
