//! A batch's images by one CUDA kernel (framework/cuda/images.h) in place of fifty operators:
//! `None` where it does not apply.

#![allow(unsafe_code)]

use super::{Augment, Padding};
use crate::engine::cuda::{Grid, Kernel, arguments};
use crate::nn::fused::{has_kernels, is_dense};
use crate::nn::name_key;
use tch::{Kind, Tensor};

/// `bytes` `[n, C, H, W]` at `rows` `[N]` as numbers in [0, 1], `[N, C, H, W]` channels-last, fp32;
/// cropped and mirrored by the draws of (`key` `[]`, the images' indices `[N]`).
pub(super) fn gather(bytes: &Tensor, rows: &Tensor, augment: Option<(&Augment, &Tensor, &Tensor)>) -> Option<Tensor> {
    let (_, c, h, w) = bytes.size4().ok()?;
    let (device, count) = (bytes.device(), rows.numel() as i64);
    let keyed = augment.is_none_or(|(augment, key, index)| {
        // A reflection cannot reach beyond the image's size.
        let reaches = augment.padding == Padding::Zero || augment.pad < h.min(w);
        reaches && is_dense(key, Kind::Int64, &[], device) && is_dense(index, Kind::Int64, &[count], device)
    });
    let fits = is_dense(bytes, Kind::Uint8, &bytes.size(), device) && is_dense(rows, Kind::Int64, &[count], device);
    if !has_kernels(device) || !fits || !keyed || count == 0 {
        return None;
    }
    let kernel = Kernel::named("images_of_bytes").ok()?;
    let out = Tensor::empty([count, h, w, c], (Kind::Float, device)).permute([0, 3, 1, 2]);
    let [by_y, by_x, by_flip] = ["crop.y", "crop.x", "flip"].map(|name| name_key(name) as i64);
    let (pad, flip, reflects) = augment.map_or((0, false, false), |(augment, ..)| {
        (augment.pad as i32, augment.flip, augment.padding == Padding::Reflect)
    });
    let arguments = arguments![
        bytes,
        rows,
        augment.map(|(_, key, _)| key),
        augment.map(|(.., index)| index),
        &out,
        by_y,
        by_x,
        by_flip,
        pad,
        i32::from(flip),
        i32::from(reflects),
        c as i32,
        h as i32,
        w as i32,
        out.numel() as i64
    ];
    // # Safety
    // The declaration is (unsigned char*, long*, long* or null, long* or null, float*, three of
    // long, six of int, long), checked above; `rows` are places in the split.
    unsafe { kernel.launch(Grid::Each(out.numel() as i64), &arguments) }.ok()?;
    Some(out)
}
