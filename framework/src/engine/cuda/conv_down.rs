//! The convolutions of framework/cuda/conv_down_sm90.cu.

use super::{functions, stand_in, told};
use crate::{Error, Result};
use std::ffi::{CString, c_void};
use tch::{Device, Tensor};

/// The 3 x 3 and the 1 x 1 convolution of a down-sampling block, both with stride 2 and of the same
/// images, or their common input gradient, and what becomes of the numbers before they are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DownSampling<'a> {
    /// Whether it is the gradient.
    pub turned: bool,
    /// The name of the kernel behind `down_16` or `down_16_turned`, such as `_mask`; the rest is
    /// what it takes (framework/cuda/conv_shape.h).
    pub kernel: &'static str,
    /// `[N, C, 2 S, 2 S]`: the input, or its gradient, which is written.
    pub large: &'a Tensor,
    /// `[2 C, C, 3, 3]` and `[2 C, C, 1, 1]`.
    pub weights: [&'a Tensor; 2],
    /// `[N, 2 C, S, S]` each: the outputs, which are written, or their gradients.
    pub small: [&'a Tensor; 2],
    /// `[N, C, 2 S, 2 S]`.
    pub beside: Option<&'a Tensor>,
    /// Scale, shift and mean, fp32, of what is written: `[C]` each with `turned`, else `[2 C]`.
    pub by_channel: [Option<&'a Tensor>; 3],
    /// Two fp32 numbers for each group of written pixels and channel: what is found.
    pub groups: Option<&'a Tensor>,
}

impl DownSampling<'_> {
    /// Runs it on this thread's stream. It finds the same bits each time.
    ///
    /// # Safety
    /// Shapes are the above, with S one of 16, 8, 4 and C = 1024 / S, and what the kernel takes is
    /// there. Images and weights are bf16, channels-last and begin at multiples of 16 bytes, the
    /// rest is fp32 and contiguous. All are on the current device, whose compute capability is 9.0,
    /// or in a test where a stand-in reads them.
    ///
    /// # Errors
    /// When a tensor is not on CUDA, or what CUDA reports.
    pub(crate) unsafe fn launch(self) -> Result<()> {
        let ([weight, shortcut_weight], [small, shortcut]) = (self.weights, self.small);
        let [scale, shift, mean] = self.by_channel;
        let images = [self.large, weight, shortcut_weight, small, shortcut].map(Some);
        let given =
            [images[0], images[1], images[2], images[3], images[4], self.beside, scale, shift, mean, self.groups];
        let reaches = |tensor: &Tensor| matches!(tensor.device(), Device::Cuda(_)) || stand_in::convolves();
        if !given.into_iter().flatten().all(reaches) {
            return Err(Error::new("a convolution for CUDA was given a tensor that is elsewhere"));
        }
        let at = |tensor: Option<&Tensor>| tensor.map_or(std::ptr::null_mut(), |tensor| tensor.data_ptr());
        let pointers: [*mut c_void; 10] = given.map(at);
        let (n, side) = (self.large.size()[0], self.large.size()[3] as i32 / 2);
        let n = i32::try_from(n).map_err(|_| Error::new("a batch is too large for one launch"))?;
        let turned = if self.turned { "_turned" } else { "" };
        let name = format!("down_{side}{turned}{}", self.kernel);
        // # Safety
        // By this function's contract; in a test memory is the CPU's.
        if unsafe { stand_in::convolve(&name, &pointers, n, side) } {
            return Ok(());
        }
        let [large, weight, shortcut_weight, small, shortcut, beside, scale, shift, mean, groups] = pointers;
        let name = CString::new(name).map_err(Error::of)?;
        let f = functions()?;
        // # Safety
        // By this function's contract; the name outlives the call.
        told(f.check(unsafe {
            (f.conv_down)(
                name.as_ptr(),
                i32::from(self.turned),
                large,
                weight,
                shortcut_weight,
                small,
                shortcut,
                beside,
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
