//! What the kernels can work on.

use super::plain::is_plain;
use crate::cuda::{VECTOR, gpu, stand_in};
use crate::shim::is_channels_last;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// Whether this device runs the kernels: a GPU of compute capability 8.0 or later, with foil's
/// library; or in a test a CPU. Not where a second derivative is needed.
pub(crate) fn has_kernels(device: Device) -> bool {
    static NEW_ENOUGH: OnceLock<bool> = OnceLock::new();
    if is_plain() {
        return false;
    }
    match device {
        Device::Cuda(n) => *NEW_ENOUGH.get_or_init(|| gpu(n).is_ok_and(|gpu| gpu.capability >= 80)),
        Device::Cpu => stand_in::is_here(),
        _ => false,
    }
}

/// Whether kernels support these images: of one kind, shape and device, channels-last, in whole
/// vectors of channels.
pub(in crate::nn) fn supports(images: &[&Tensor]) -> bool {
    let Some(first) = images.first().filter(|first| has_kernels(first.device())) else { return false };
    let (kind, shape) = (first.kind(), first.size());
    matches!(kind, Kind::Float | Kind::BFloat16)
        && shape.len() == 4
        && shape[1] % VECTOR == 0
        && images.iter().all(|t| {
            t.kind() == kind
                && t.size() == shape
                && t.device() == first.device()
                && is_channels_last(t)
                && is_aligned(t)
        })
}

/// `gradient` channels-last, if kernels support it together with `images` and `other`. (The
/// gradient of a mean is a view of one number for all pixels.)
pub(super) fn supported_gradient(gradient: &Tensor, images: &Tensor, other: Option<&Tensor>) -> Option<Tensor> {
    if !supports(&[images]) || gradient.kind() != images.kind() {
        return None;
    }
    let gradient = crate::shim::channels_last(gradient).ok()?;
    let all: Vec<&Tensor> = [Some(images), Some(&gradient), other].into_iter().flatten().collect();
    supports(&all).then_some(gradient)
}

/// Whether a tensor is contiguous, of this kind and size, on this device.
pub(crate) fn is_contiguous(tensor: &Tensor, kind: Kind, size: &[i64], device: Device) -> bool {
    tensor.kind() == kind && tensor.size() == size && tensor.is_contiguous() && tensor.device() == device
}

/// Whether these are fp32 `[channels]`, contiguous, on this device.
pub(super) fn are_per_channel(all: &[&Tensor], channels: i64, device: Device) -> bool {
    all.iter().all(|t| is_contiguous(t, Kind::Float, &[channels], device))
}

/// Whether it can be read 16 bytes at a time; a view may begin anywhere.
pub(super) fn is_aligned(tensor: &Tensor) -> bool {
    (tensor.data_ptr() as usize).is_multiple_of(16)
}

/// `values` `[channels]` as kernels read them in vectors: fp32, contiguous and aligned.
pub(super) fn per_channel(values: &Tensor, channels: i64) -> Option<Tensor> {
    (values.size() == [channels]).then(|| {
        let values = values.to_kind(Kind::Float).contiguous();
        if is_aligned(&values) { values } else { values.copy() }
    })
}

/// [`per_channel`] of what is there; `Some(None)` where nothing is.
pub(super) fn per_channel_if_any(values: Option<&Tensor>, channels: i64) -> Option<Option<Tensor>> {
    values.map_or(Some(None), |values| per_channel(values, channels).map(Some))
}

/// New memory in the shape and layout of `xs`.
pub(super) fn empty_like_in(xs: &Tensor, kind: Kind) -> Tensor {
    Tensor::empty_strided(xs.size(), xs.stride(), (kind, xs.device()))
}

/// New images of this size, channels-last.
pub(super) fn empty_images([n, c, h, w]: [i64; 4], like: &Tensor) -> Tensor {
    Tensor::empty_strided([n, c, h, w], [h * w * c, 1, w * c, c], (like.kind(), like.device()))
}
