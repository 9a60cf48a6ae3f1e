//! A 3 x 3 convolution in fp32 and its input gradient with a quarter of the products
//! (framework/cuda/winograd.h).
//!
//! Where the card's memory is fast for its arithmetic, this is the fastest by its bytes and
//! products, and the default in fp32: docs/decisions/0018-winograd.md. No GPU has timed it yet.

use super::support::{are_per_channel, empty_images, has_kernels, supports};
use crate::cuda::{Gpu, Grid, VECTOR, conv, gpu, kernels};
use crate::shim::{allows_tf32, is_channels_last};
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// Pixels along a side of a tile of outputs.
const TILE: i64 = 4;
/// Numbers of a tile of inputs, and so products of a tile.
const PRODUCTS: i64 = 36;
/// With fewer channels the products cost less than the way there.
const LEAST_CHANNELS: i64 = 64;

/// What is done to the convolution's numbers before they are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Finish<'a> {
    /// Nothing.
    Store,
    /// Adds `residual`, keeps that in `sum`, and takes max(sum · scale + shift, 0) by channel.
    Affine { residual: Option<&'a Tensor>, sum: Option<&'a Tensor>, scale_shift: Option<[&'a Tensor; 2]> },
    /// Times `scale` by channel where `out` is positive, else 0; plus `other`.
    Mask { out: &'a Tensor, scale: &'a Tensor, other: Option<&'a Tensor> },
}

/// The convolution of `xs` `[N, C, H, W]`.
pub(super) fn forward(xs: &Tensor, weight: &Tensor, stride_padding: [i64; 2], finish: Finish) -> Option<Tensor> {
    run(xs, weight, stride_padding, false, finish)
}

/// The input gradient, from that with respect to the output, `[N, K, H, W]`.
pub(super) fn backward(d_out: &Tensor, weight: &Tensor, stride_padding: [i64; 2], finish: Finish) -> Option<Tensor> {
    run(d_out, weight, stride_padding, true, finish)
}

fn run(
    images: &Tensor,
    weight: &Tensor,
    stride_padding: [i64; 2],
    is_backward: bool,
    finish: Finish,
) -> Option<Tensor> {
    if stride_padding != [1, 1] || !applies(images, weight, is_backward) {
        return None;
    }
    let ((n, _, h, w), device) = (images.size4().ok()?, images.device());
    let c = weight.size()[usize::from(is_backward)];
    let out = empty_images([n, c, h, w], images);
    let (beside, factors) = match finish {
        Finish::Store => ([None; 2], vec![]),
        Finish::Affine { residual, sum, scale_shift } => {
            ([residual, sum], scale_shift.map_or(vec![], |both| both.to_vec()))
        }
        Finish::Mask { out, scale, other } => ([Some(out), other], vec![scale]),
    };
    if !beside.into_iter().flatten().all(|t| supports(&[&out, t])) || !are_per_channel(&factors, c, device) {
        return None;
    }
    let tiles = n * (h / TILE) * (w / TILE);
    let products = products(images, weight, is_backward, tiles)?;
    // A thread has two channels of a tile.
    let (grid, [h, w, c, tiles]) = (Grid::Threads(tiles * c / 2), [h, w, c, tiles].map(|size| size as i32));
    match finish {
        Finish::Mask { out: activated, scale, other } => {
            kernels::winograd_masked(grid, &products, activated, other, scale, &out, h, w, c, tiles)
        }
        Finish::Store | Finish::Affine { .. } => {
            let [scale, shift] = [factors.first().copied(), factors.get(1).copied()];
            kernels::winograd_affine(grid, &products, beside[0], beside[1], scale, shift, &out, h, w, c, tiles)
        }
    }
    .ok()?;
    Some(out)
}

/// The 36 products of tiles and weights, `[36, tiles, C]`.
fn products(images: &Tensor, weight: &Tensor, is_backward: bool, tiles: i64) -> Option<Tensor> {
    let options = (Kind::Float, images.device());
    let (_, c, h, w) = images.size4().ok()?;
    let (outputs, inputs) = (weight.size()[0], weight.size()[1]);
    let of_images = Tensor::empty([PRODUCTS, tiles, c], options);
    let of_weight = Tensor::empty([PRODUCTS, outputs, inputs], options);
    let [h, w, channels, tile_count] = [h, w, c, tiles].map(|size| size as i32);
    kernels::winograd_images(Grid::Threads(tiles * c / 2), images, &of_images, h, w, channels, tile_count).ok()?;
    let [by_output, by_channel, by_row, by_column] = weight.stride()[..] else { return None };
    let [by_output, by_channel, by_row, by_column] =
        [by_output, by_channel, by_row, by_column].map(|stride| stride as i32);
    // A thread has a pair of channels.
    let (grid, k, c, turned) = (Grid::Threads(outputs * inputs), outputs as i32, inputs as i32, is_backward.into());
    kernels::winograd_weights(grid, weight, &of_weight, k, c, by_output, by_channel, by_row, by_column, turned).ok()?;
    // The weight's outputs are the gradient's inputs.
    Some(of_images.bmm(&if is_backward { of_weight } else { of_weight.transpose(1, 2) }))
}

/// Whether it is a convolution that this is for, of images and a weight as the kernels read them.
fn applies(images: &Tensor, weight: &Tensor, is_backward: bool) -> bool {
    let (size, device) = (weight.size(), images.device());
    let (Ok((n, c, h, w)), &[outputs, inputs, 3, 3]) = (images.size4(), &size[..]) else { return false };
    let most = n * h * w / (TILE * TILE) * outputs.max(inputs) / 2;
    images.kind() == Kind::Float
        && is_faster_on(device)
        && c == if is_backward { outputs } else { inputs }
        && outputs.min(inputs) >= LEAST_CHANNELS
        && outputs % VECTOR == 0
        && inputs % VECTOR == 0
        && h % TILE == 0
        && w % TILE == 0
        // Threads are counted in 32 bits.
        && (1..1 << 31).contains(&most)
        && outputs * inputs * 9 < 1 << 31
        && supports(&[images])
        && (weight.kind(), weight.device()) == (Kind::Float, device)
        && (weight.is_contiguous() || is_channels_last(weight))
}

/// Whether foil's convolutions are allowed and the device's memory is fast. This reads and writes
/// eleven times the images, not twice, which takes such a device less time than the products that
/// are saved, and others more. With TF32 allowed, cuDNN is faster.
fn is_faster_on(device: Device) -> bool {
    static FASTER: OnceLock<bool> = OnceLock::new();
    match device {
        Device::Cuda(n) => {
            let has_fast_memory = || gpu(n).is_ok_and(|gpu| Gpu::has_fast_memory(gpu.capability));
            !allows_tf32() && *FASTER.get_or_init(|| conv::are_allowed() && has_fast_memory())
        }
        device => has_kernels(device),
    }
}
