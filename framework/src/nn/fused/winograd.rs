//! A 3 x 3 convolution in fp32 and its input gradient in fewer products (framework/cuda/winograd.h): `None` where they do not apply.
//!
//! Where the card's memory is fast for its arithmetic, this is the quickest: docs/decisions/0018-winograd.md.

#![allow(unsafe_code)]

use super::kernels::{WIDTH, convolves, is_by_channel, is_new_enough, suits};
use crate::engine::cuda::{Argument, Gpu, Grid, Kernel, arguments, gpu};
use crate::shim::{allows_tf32, is_channels_last};
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// Pixels along a side of a tile of outputs.
const TILE: i64 = 4;
/// Numbers of a tile of inputs, which are as many products.
const PRODUCTS: i64 = 36;
/// Fewer channels make no product worth the way there.
const LEAST: i64 = 64;

/// Which way a convolution goes, and what is made of its numbers before they are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ends<'a> {
    /// The convolution (+ `ys`), which is `sum`; behind `line`, scale and shift by channel, and a ReLU.
    Forward { ys: Option<&'a Tensor>, sum: Option<&'a Tensor>, line: Option<[&'a Tensor; 2]> },
    /// The input gradient.
    Backward,
    /// The input gradient times `scale` by channel where `out` is positive, else 0 (+ `other`).
    Masked { out: &'a Tensor, scale: &'a Tensor, other: Option<&'a Tensor> },
}

/// Of `images` `[N, C, H, W]`, which are the output's gradient on the way back, with `weight`, by stride and padding.
pub(super) fn run(images: &Tensor, weight: &Tensor, by: [i64; 2], ends: Ends) -> Option<Tensor> {
    let is_turned = !matches!(ends, Ends::Forward { .. });
    if by != [1, 1] || !serves(images, weight, is_turned) {
        return None;
    }
    let ((n, _, h, w), device) = (images.size4().ok()?, images.device());
    let c = weight.size()[usize::from(is_turned)];
    let out = Tensor::empty([n, h, w, c], (Kind::Float, device)).permute([0, 3, 1, 2]);
    let (kernel, beside, by_channel) = match ends {
        Ends::Forward { ys, sum, line } => {
            ("winograd_affine", [ys, sum], line.map_or(vec![None; 2], |l| l.map(Some).into()))
        }
        Ends::Backward => ("winograd_affine", [None; 2], vec![None; 2]),
        Ends::Masked { out, scale, other } => ("winograd_masked", [Some(out), other], vec![Some(scale)]),
    };
    let fit = beside.into_iter().flatten().all(|t| suits(&[&out, t]))
        && by_channel.iter().flatten().all(|t| is_by_channel(t, c, device));
    if !fit {
        return None;
    }
    let tiles = n * (h / TILE) * (w / TILE);
    let products = products(images, weight, is_turned, tiles)?;
    let tensors = [Some(&products)].into_iter().chain(beside).chain(by_channel).chain([Some(&out)]).map(Argument::from);
    let arguments: Vec<Argument> = tensors.chain([h, w, c, tiles].map(|int| Argument::Int(int as i32))).collect();
    // # Safety
    // The declarations are (products, two like the images, one or two by channel, out, four of int), all but products and out perhaps null; that is checked above,
    // and a thread has two channels of a tile.
    unsafe { Kernel::named(kernel).ok()?.launch(Grid::Each(tiles * c / 2), &arguments) }.ok()?;
    Some(out)
}

/// The 36 products of tiles and weights, `[36, tiles, C]`.
fn products(images: &Tensor, weight: &Tensor, is_turned: bool, tiles: i64) -> Option<Tensor> {
    let held = (Kind::Float, images.device());
    let (_, c, h, w) = images.size4().ok()?;
    let (outputs, inputs) = (weight.size()[0], weight.size()[1]);
    let of_images = Tensor::empty([PRODUCTS, tiles, c], held);
    let of_weight = Tensor::empty([PRODUCTS, outputs, inputs], held);
    let arguments = arguments![images, &of_images, h as i32, w as i32, c as i32, tiles as i32];
    // # Safety
    // The declaration is (float*, float*, four of int), and a thread has two channels of a tile; `serves` has checked the images.
    unsafe { Kernel::named("winograd_images").ok()?.launch(Grid::Each(tiles * c / 2), &arguments) }.ok()?;
    let [by_output, by_channel, by_row, by_column] = weight.stride()[..] else { return None };
    let apart = [outputs, inputs, by_output, by_channel, by_row, by_column, i64::from(is_turned)];
    let arguments = [&arguments![weight, &of_weight][..], &apart.map(|int| Argument::Int(int as i32))].concat();
    // # Safety
    // The declaration is (float*, float*, seven of int), and a thread has a pair of channels; the strides are the weight's.
    unsafe { Kernel::named("winograd_weights").ok()?.launch(Grid::Each(outputs * inputs), &arguments) }.ok()?;
    // What the weight's outputs are on the way back comes in.
    Some(of_images.bmm(&if is_turned { of_weight } else { of_weight.transpose(1, 2) }))
}

/// Whether it is a convolution that this is for, of images and a weight as the kernels read them. Whoever lets products be rounded to TF32 has quicker ones.
fn serves(images: &Tensor, weight: &Tensor, is_turned: bool) -> bool {
    let (size, device) = (weight.size(), images.device());
    let (Ok((n, c, h, w)), &[outputs, inputs, 3, 3]) = (images.size4(), &size[..]) else { return false };
    let most = n * h * w / (TILE * TILE) * outputs.max(inputs) / 2;
    images.kind() == Kind::Float
        && is_worth_it(device)
        && c == if is_turned { outputs } else { inputs }
        && outputs.min(inputs) >= LEAST
        && outputs % WIDTH == 0
        && inputs % WIDTH == 0
        && h % TILE == 0
        && w % TILE == 0
        // Threads are counted in 32 bits.
        && (1..1 << 31).contains(&most)
        && outputs * inputs * 9 < 1 << 31
        && suits(&[images])
        && (weight.kind(), weight.device()) == (Kind::Float, device)
        && (weight.is_contiguous() || is_channels_last(weight))
}

/// Whether nobody said off, and the device's memory is fast: what is written and read on the way is eleven times the images, not twice, which takes such a device less time than the
/// products that are saved, and others more.
fn is_worth_it(device: Device) -> bool {
    static WORTH_IT: OnceLock<bool> = OnceLock::new();
    match device {
        Device::Cuda(n) => {
            !allows_tf32()
                && *WORTH_IT.get_or_init(|| convolves() && gpu(n).is_ok_and(|gpu| Gpu::has_fast_memory(gpu.capability)))
        }
        device => is_new_enough(device),
    }
}
