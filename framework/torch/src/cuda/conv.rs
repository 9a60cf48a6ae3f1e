//! The convolutions for Hopper, of conv_sm90.cu and conv_down_sm90.cu, with what they do to their
//! numbers before they write them.

use super::{functions, gpu, stand_in, warn_once};
use crate::shim::is_channels_last;
use crate::{Error, Result};
use std::ffi::{CString, c_void};
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// A 3 x 3 convolution, stride 1, padding 1, or the input gradient of one, and what becomes of its
/// numbers before they are written.
#[derive(Debug, Clone, Copy)]
pub struct Convolution<'a> {
    /// `[N, C, S, S]`: the input, or with `backward` its gradient, which is written.
    pub input: &'a Tensor,
    /// `[C, C, 3, 3]`, or `[2 C, C, 3, 3]` and `[2 C, C, 1, 1]`.
    pub weights: &'a [&'a Tensor],
    /// `[N, C, S, S]`, or two of `[N, 2 C, S / 2, S / 2]`: the outputs, which are written, or with
    /// `backward` their gradients.
    pub outputs: &'a [&'a Tensor],
    /// Whether it is the input gradient.
    pub backward: bool,
    /// What is done to the numbers before they are written.
    pub epilogue: Epilogue<'a>,
}

/// What a convolution does to its numbers before it writes them. Where a scale and a shift stand
/// beside each other, they are fp32 `[C]`, of the channels that are written, as is `mean`. Images
/// have the size of what is written; of two outputs only the first one is meant.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the comment of a variant names its fields")]
pub enum Epilogue<'a> {
    /// Nothing.
    None,
    /// max(v · scale + shift, 0), where v is the convolution, plus the residual if there is one.
    /// That sum is kept in `sum`, if there is room.
    AffineRelu { scale: &'a Tensor, shift: &'a Tensor, residual: Option<&'a Tensor>, sum: Option<&'a Tensor> },
    /// Adds the residual. `moments` gets mean and sum of squared deviations by channel of each
    /// group of pixels, see [`group_size`].
    Statistics { residual: Option<&'a Tensor>, moments: &'a Tensor },
    /// Of the input gradient: times `scale` where `out` > 0, else 0; plus `other`.
    Mask { out: &'a Tensor, scale: &'a Tensor, other: Option<&'a Tensor> },
    /// Of the input gradient: `sums` gets the sums of v and of v · (x - mean) of each group of
    /// pixels, where v is the gradient where x · scale + shift > 0, else 0.
    GradientSums { xs: &'a Tensor, scale: &'a Tensor, shift: &'a Tensor, mean: &'a Tensor, sums: &'a Tensor },
}

/// An epilogue's tensors: two images, scale, shift and mean, and two numbers for each group.
type Extra<'a> = ([Option<&'a Tensor>; 2], [Option<&'a Tensor>; 3], Option<&'a Tensor>);

impl<'a> Epilogue<'a> {
    /// The end of the kernel's name, and its tensors.
    fn parts(self) -> (&'static str, Extra<'a>) {
        match self {
            Epilogue::None => ("", ([None; 2], [None; 3], None)),
            Epilogue::AffineRelu { scale, shift, residual, sum } => {
                let name = if residual.is_some() { "_sum_affine" } else { "_affine" };
                (name, ([residual, sum], [Some(scale), Some(shift), None], None))
            }
            Epilogue::Statistics { residual, moments } => {
                let name = if residual.is_some() { "_sum_statistics" } else { "_statistics" };
                (name, ([residual, None], [None; 3], Some(moments)))
            }
            Epilogue::Mask { out, scale, other } => {
                let name = if other.is_some() { "_mask_sum" } else { "_mask" };
                (name, ([Some(out), other], [Some(scale), None, None], None))
            }
            Epilogue::GradientSums { xs, scale, shift, mean, sums } => {
                ("_slopes", ([Some(xs), None], [scale, shift, mean].map(Some), Some(sums)))
            }
        }
    }

    fn is_backward(self) -> Option<bool> {
        match self {
            Epilogue::None => None,
            Epilogue::AffineRelu { .. } | Epilogue::Statistics { .. } => Some(false),
            Epilogue::Mask { .. } | Epilogue::GradientSums { .. } => Some(true),
        }
    }
}

/// Pixels of a group, and images that must be there at a time, for images of this side and this
/// number of convolutions: as in framework/cuda/conv_shape.h and conv_down_shape.h.
pub fn group_size(side: i64, convolutions: usize) -> [i64; 2] {
    match (convolutions, side) {
        (1, 32) | (2, 32) => [128, 1],
        (1, 16) => [256, 1],
        (1, 8) | (2, 16) => [128, 2],
        _ => [64, 8],
    }
}

/// Set to `off`, libtorch's convolutions are used: for comparisons, and for when something is
/// wrong.
const CONVOLUTIONS: &str = "FOIL_CONV";

/// Whether the environment allows convolutions of foil's own.
pub fn are_allowed() -> bool {
    std::env::var_os(CONVOLUTIONS).is_none_or(|value| value != "off")
}

/// Whether this is a Hopper GPU (the kernels' instructions exist on no later one) and foil's
/// convolutions are allowed.
pub fn is_hopper(device: Device) -> bool {
    static HOPPER: OnceLock<bool> = OnceLock::new();
    match device {
        Device::Cuda(n) => *HOPPER.get_or_init(|| are_allowed() && gpu(n).is_ok_and(|gpu| gpu.capability == 90)),
        Device::Cpu => stand_in::convolves(),
        _ => false,
    }
}

/// Whether these are images or a weight as the kernels read them: bf16, channels-last, 16-byte
/// aligned.
pub fn is_bf16_channels_last(t: &Tensor) -> bool {
    t.kind() == Kind::BFloat16 && is_channels_last(t) && (t.data_ptr() as usize).is_multiple_of(16)
}

impl Convolution<'_> {
    /// Whether the kernels can have these tensors: sizes, kinds, layouts, and one device.
    fn fits(&self) -> bool {
        let Ok((n, c, side, width)) = self.input.size4() else { return false };
        let [first, ..] = self.outputs else { return false };
        let convolutions = self.weights.len();
        let (image, weights, sides) = match convolutions {
            1 => ([n, c, side, side], vec![vec![c, c, 3, 3]], &[32, 16, 8, 4][..]),
            _ => ([n, 2 * c, side / 2, side / 2], vec![vec![2 * c, c, 3, 3], vec![2 * c, c, 1, 1]], &[32, 16, 8][..]),
        };
        let device = self.input.device();
        let are_images = |all: &[&Tensor], size: &[i64]| {
            all.iter().all(|t| t.size() == size && t.device() == device && is_bf16_channels_last(t))
        };
        let is_fp32 = |t: &Tensor, size: &[i64]| {
            t.kind() == Kind::Float && t.size() == size && t.is_contiguous() && t.device() == device
        };
        let written = if self.backward { self.input.size() } else { first.size() };
        let (_, (images, by_channel, groups)) = self.epilogue.parts();
        let [rows, at_once] = group_size(side, convolutions);
        let pixels = n * written[2] * written[3];
        sides.contains(&side)
            && (width, c) == (side, 2048 / side)
            && n > 0
            && self.outputs.len() == convolutions
            && self.weights.iter().map(|t| t.size()).eq(weights)
            && is_hopper(device)
            && are_images(&[self.input], &[n, c, side, side])
            && are_images(self.outputs, &image)
            && self.weights.iter().all(|t| t.device() == device && is_bf16_channels_last(t))
            && images.iter().flatten().all(|t| are_images(&[t], &written))
            // Down-sampling blocks have no second image.
            && (convolutions == 1 || images[1].is_none() && (self.backward || images[0].is_none()))
            && by_channel.iter().flatten().all(|t| is_fp32(t, &[written[1]]))
            && groups.is_none_or(|t| n % at_once == 0 && is_fp32(t, &[pixels / rows, written[1], 2]))
            && self.epilogue.is_backward().is_none_or(|backward| backward == self.backward)
    }

    /// Runs it on this thread's stream; it finds the same bits each time. `None` where a tensor is
    /// not as the kernels read it, or CUDA reports an error.
    pub fn launch(self) -> Option<()> {
        if !self.fits() {
            return None;
        }
        self.launch_fitting().ok()
    }

    fn launch_fitting(self) -> Result<()> {
        let side = self.outputs[0].size()[3] as i32;
        let n = i32::try_from(self.input.size()[0]).map_err(|_| Error::new("a batch is too large for one launch"))?;
        let (epilogue, ([beside, other], [scale, shift, mean], groups)) = self.epilogue.parts();
        let (family, turned) =
            (if self.weights.len() == 1 { "conv" } else { "down" }, if self.backward { "_turned" } else { "" });
        let name = format!("{family}_{side}{turned}{epilogue}");
        let at = |tensor: Option<&Tensor>| tensor.map_or(std::ptr::null_mut(), Tensor::data_ptr);
        let [beside, other, scale, shift, mean, groups] = [beside, other, scale, shift, mean, groups].map(at);
        let (read, written) = if self.backward { (self.outputs[0], self.input) } else { (self.input, self.outputs[0]) };
        let pointers: Vec<*mut c_void> = match (self.weights, self.outputs) {
            ([weight, shortcut_weight], [small, shortcut]) => [&self.input, weight, shortcut_weight, small, shortcut]
                .map(|t| t.data_ptr())
                .into_iter()
                .chain([beside, scale, shift, mean, groups])
                .collect(),
            _ => [read, self.weights[0], written]
                .map(|t| t.data_ptr())
                .into_iter()
                .chain([beside, other, scale, shift, mean, groups])
                .collect(),
        };
        // SAFETY: `fits` has checked all tensors, which are the CPU's in a test.
        if unsafe { stand_in::convolve(&name, &pointers, n, side) } {
            return Ok(());
        }
        let name = CString::new(name).map_err(Error::of)?;
        let f = functions()?;
        let [scale, shift, mean] = [scale, shift, mean].map(|at| at.cast_const().cast());
        let (input, weight, first) = (self.input.data_ptr(), self.weights[0].data_ptr(), self.outputs[0].data_ptr());
        // SAFETY: `fits` has checked sizes, kinds, layouts and devices of all tensors as
        // framework/cuda/conv.cpp asks for them; the name outlives the call.
        warn_once(f.check(unsafe {
            match (self.weights, self.outputs) {
                ([_, shortcut_weight], [_, shortcut]) => (f.conv_down)(
                    name.as_ptr(),
                    i32::from(self.backward),
                    input,
                    weight,
                    shortcut_weight.data_ptr(),
                    first,
                    shortcut.data_ptr(),
                    beside,
                    scale,
                    shift,
                    mean,
                    groups.cast(),
                    n,
                    side,
                ),
                _ => (f.conv)(
                    name.as_ptr(),
                    read.data_ptr(),
                    weight,
                    written.data_ptr(),
                    beside,
                    other,
                    scale,
                    shift,
                    mean,
                    groups.cast(),
                    n,
                    side,
                ),
            }
        }))
    }
}
