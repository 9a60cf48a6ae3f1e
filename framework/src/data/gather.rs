//! A batch's images by one CUDA kernel (framework/cuda/images.h) in place of fifty operators:
//! `None` where it does not apply.

#![allow(unsafe_code)]

use super::{Padding, Shift};
use crate::cuda::{Grid, kernels};
use crate::nn::kernels::{has_kernels, is_contiguous};
use crate::nn::name_key;
use tch::{Kind, Tensor};

/// `bytes` `[n, C, H, W]` at `rows` `[N]` as numbers in [0, 1], `[N, C, H, W]` channels-last, fp32;
/// shifted by the draws of (`key` `[]`, the images' indices `[N]`).
pub(super) fn gather(bytes: &Tensor, rows: &Tensor, shift: Option<(Shift, &Tensor, &Tensor)>) -> Option<Tensor> {
    let (_, c, h, w) = bytes.size4().ok()?;
    let (device, count) = (bytes.device(), rows.numel() as i64);
    let is_keyed = shift.is_none_or(|(shift, key, index)| {
        // A reflection reaches no further than the image.
        let reaches = shift.padding == Padding::Zero || shift.pad < h.min(w);
        reaches && is_contiguous(key, Kind::Int64, &[], device) && is_contiguous(index, Kind::Int64, &[count], device)
    });
    let is_read =
        is_contiguous(bytes, Kind::Uint8, &bytes.size(), device) && is_contiguous(rows, Kind::Int64, &[count], device);
    if !has_kernels(device) || !is_read || !is_keyed || count == 0 {
        return None;
    }
    let out = Tensor::empty([count, h, w, c], (Kind::Float, device)).permute([0, 3, 1, 2]);
    let [by_y, by_x, by_flip] = ["crop.y", "crop.x", "flip"].map(|name| name_key(name) as i64);
    let (pad, flip, reflects) = shift
        .map_or((0, false, false), |(shift, ..)| (shift.pad as i32, shift.flip, shift.padding == Padding::Reflect));
    let (key, index) = (shift.map(|(_, key, _)| key), shift.map(|(.., index)| index));
    let (n, [c, h, w]) = (out.numel() as i64, [c, h, w].map(|size| size as i32));
    let (grid, flip, reflects) = (Grid::Threads(n), flip.into(), reflects.into());
    // SAFETY: `rows` are indices of images in `bytes`.
    unsafe {
        kernels::images_of_bytes(
            grid, bytes, rows, key, index, &out, by_y, by_x, by_flip, pad, flip, reflects, c, h, w, n,
        )
    }
    .ok()?;
    Some(out)
}
