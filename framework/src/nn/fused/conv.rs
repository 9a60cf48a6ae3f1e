//! A 3 x 3 convolution and its input gradient by foil's own means: `None` where they do not apply.
//!
//! In bf16 that is the kernel for Hopper (framework/cuda/conv_sm90.cu), for the sizes of a ResNet on 32 x 32 images, where it was measured to be faster than cuDNN:
//! docs/decisions/0016-convolution.md. In fp32 it is [`winograd`].

#![allow(unsafe_code)]

use super::entering::{Entering, Front};
use super::groups::Groups;
use super::kernels::{convolves, is_aligned, is_by_channel, is_new_enough};
use super::winograd::{self, Ends};
use crate::engine::cuda::{Convolution, gpu, stand_in};
use crate::engine::raise;
use crate::nn::autograd::node;
use crate::shim::{channels_last, conv_input_gradient, conv_weight_gradient, is_channels_last};
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// The convolution of `xs` with `weight`, without a bias. Where autograd watches, its gradient is this kernel's and libtorch's.
pub(in crate::nn) fn forward(xs: &Tensor, weight: &Tensor, by: [i64; 2]) -> Option<Tensor> {
    let plain = || winograd::run(xs, weight, by, Ends::Forward { ys: None, sum: None, line: None });
    let out = tch::no_grad(|| run("", [xs, weight], by, [None; 2], [None; 3], None).or_else(plain))?;
    Some(watched(out, xs.into(), weight, by, None))
}

/// `out`, the convolution (+ `ys`), with its gradient if autograd watches.
fn watched(out: Tensor, entering: Entering, weight: &Tensor, by: [i64; 2], ys: Option<&Tensor>) -> Tensor {
    let (xs, front) = (entering.images(), entering.front());
    let inputs: Vec<&Tensor> = [xs, weight].into_iter().chain(ys).collect();
    let needed: Vec<bool> = inputs.iter().map(|input| input.requires_grad()).collect();
    if !needed.contains(&true) {
        return out;
    }
    let held = [xs, weight].map(Tensor::shallow_clone);
    let gradients = move |found: Vec<Option<Tensor>>| {
        let Some(d_out) = found.into_iter().next().flatten() else { return Ok(needed.iter().map(|_| None).collect()) };
        let (d_out, [xs, weight]) = (channels_last(&d_out)?, &held);
        let begin = |front: &Front| front.begin(|xs, line| backward_slopes(&d_out, weight, by, xs, line));
        let of_input = || match front.as_ref().and_then(begin).or_else(|| backward(&d_out, weight, by)) {
            Some(found) => Ok(found),
            None => conv_input_gradient(&d_out, xs, weight, by[0], by[1]),
        };
        let of_weight = || conv_weight_gradient(&d_out, xs, weight, by[0], by[1]);
        let mut all = vec![needed[0].then(of_input).transpose()?, needed[1].then(of_weight).transpose()?];
        all.extend(needed.get(2).map(|needed| needed.then(|| d_out.shallow_clone())));
        Ok(all)
    };
    raise(node(c"conv", &inputs, &[&out], gradients)).pop().unwrap_or(out)
}

/// The same, times scale and plus shift by channel, and 0 where that is less.
pub(super) fn forward_affine_relu(xs: &Tensor, weight: &Tensor, by: [i64; 2], line: [&Tensor; 2]) -> Option<Tensor> {
    run("_affine", [xs, weight], by, [None; 2], [Some(line[0]), Some(line[1]), None], None)
        .or_else(|| winograd::run(xs, weight, by, Ends::Forward { ys: None, sum: None, line: Some(line) }))
}

/// The convolution + `ys` if it `keeps_sum`, and that times scale and plus shift by channel, and 0 where that is less.
pub(super) fn forward_sum_affine_relu(
    xs: &Tensor,
    weight: &Tensor,
    by: [i64; 2],
    ys: &Tensor,
    line: [&Tensor; 2],
    keeps_sum: bool,
) -> Option<(Option<Tensor>, Tensor)> {
    let room = (keeps_sum && is_new_enough(ys.device())).then(|| ys.empty_like());
    let (ys, sum) = (Some(ys), room.as_ref());
    let out = run("_sum_affine", [xs, weight], by, [ys, sum], [Some(line[0]), Some(line[1]), None], None)
        .or_else(|| winograd::run(xs, weight, by, Ends::Forward { ys, sum, line: Some(line) }))?;
    Some((room, out))
}

/// The convolution (+ `ys`), and its means and sums of squared deviations. Where autograd watches, as [`forward`].
pub(super) fn forward_statistics(
    entering: Entering,
    weight: &Tensor,
    by: [i64; 2],
    ys: Option<&Tensor>,
) -> Option<(Tensor, Groups)> {
    let kernel = if ys.is_some() { "_sum_statistics" } else { "_statistics" };
    let xs = entering.images();
    let groups = Groups::of(xs)?;
    let out = tch::no_grad(|| run(kernel, [xs, weight], by, [ys, None], [None; 3], Some(&groups)))?;
    Some((watched(out, entering, weight, by, ys), groups))
}

/// The convolution's input gradient from that with respect to its output.
pub(in crate::nn) fn backward(d_out: &Tensor, weight: &Tensor, by: [i64; 2]) -> Option<Tensor> {
    run("_turned", [d_out, weight], by, [None; 2], [None; 3], None)
        .or_else(|| winograd::run(d_out, weight, by, Ends::Backward))
}

/// The same, times `scale` by channel where `out`, which the convolution was of, is positive, else 0 (+ `other`).
pub(super) fn backward_masked(
    d_out: &Tensor,
    weight: &Tensor,
    by: [i64; 2],
    out: &Tensor,
    scale: &Tensor,
    other: Option<&Tensor>,
) -> Option<Tensor> {
    let kernel = if other.is_some() { "_turned_mask_sum" } else { "_turned_mask" };
    run(kernel, [d_out, weight], by, [Some(out), other], [Some(scale), None, None], None)
        .or_else(|| winograd::run(d_out, weight, by, Ends::Masked { out, scale, other }))
}

/// The input gradient, and the two sums that the gradient of the batch norm in front takes of it; `xs` went into that, and `line` is its scale, shift and mean.
pub(super) fn backward_slopes(
    d_out: &Tensor,
    weight: &Tensor,
    by: [i64; 2],
    xs: &Tensor,
    line: [&Tensor; 3],
) -> Option<(Tensor, Groups)> {
    let groups = Groups::of(d_out)?;
    Some((run("_turned_slopes", [d_out, weight], by, [Some(xs), None], line.map(Some), Some(&groups))?, groups))
}

/// What the kernel for Hopper behind `conv_32` writes, which takes these; see [`Convolution`].
fn run(
    kernel: &'static str,
    [images, weight]: [&Tensor; 2],
    by: [i64; 2],
    beside: [Option<&Tensor>; 2],
    by_channel: [Option<&Tensor>; 3],
    groups: Option<&Groups>,
) -> Option<Tensor> {
    let device = images.device();
    let fits = by == [1, 1]
        && images.size4().is_ok_and(|(n, c, h, w)| serves([n, c, h, w], &weight.size()))
        && is_hopper(device)
        && is_dense(images, device)
        && is_dense(weight, device)
        && beside.into_iter().flatten().all(|t| is_dense(t, device) && t.size() == images.size())
        && by_channel.into_iter().flatten().all(|t| is_by_channel(t, weight.size()[0], device));
    if !fits {
        return None;
    }
    let out = images.empty_like();
    let groups = groups.map(|groups| &groups.found);
    // # Safety
    // Kinds, sizes, layout and device are checked above; `Groups` made room for what is found; the functions above give each kernel what it takes; fresh memory is
    // aligned.
    unsafe { Convolution { kernel, images, weight, out: &out, beside, by_channel, groups }.launch() }.ok()?;
    Some(out)
}

/// Whether these are images or a weight as the kernel reads them.
pub(super) fn is_dense(t: &Tensor, device: Device) -> bool {
    t.kind() == Kind::BFloat16 && t.device() == device && is_channels_last(t) && is_aligned(t)
}

/// Whether images `[N, C, H, W]` with a weight of this size are among those the kernel is for.
fn serves([n, c, h, w]: [i64; 4], weight: &[i64]) -> bool {
    // At 4 x 4 a batch larger than what all multiprocessors hold at once is better off with cuDNN.
    let most = if w == 4 { 128 } else { i64::MAX };
    [32, 16, 8, 4].contains(&w) && h == w && c == 2048 / w && weight == [c, c, 3, 3] && (1..=most).contains(&n)
}

/// Whether the device has the kernel's instructions, which later devices have not, and nobody said off.
pub(super) fn is_hopper(device: Device) -> bool {
    static HOPPER: OnceLock<bool> = OnceLock::new();
    match device {
        Device::Cuda(n) => *HOPPER.get_or_init(|| convolves() && gpu(n).is_ok_and(|gpu| gpu.capability == 90)),
        Device::Cpu => stand_in::convolves(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::fused::tests::{drawn, off, where_hopper_is};

    const SIDES: [i64; 4] = [32, 16, 8, 4];

    fn images(n: i64, side: i64, device: Device) -> Tensor {
        drawn("images", &[n, 2048 / side, side, side], device).to_kind(Kind::BFloat16)
    }

    fn weight(side: i64, device: Device) -> Tensor {
        let c = 2048 / side;
        (drawn("weight", &[c, c, 3, 3], device) * (2.0 / (9 * c) as f64).sqrt()).to_kind(Kind::BFloat16)
    }

    #[test]
    fn it_serves_a_resnets_sizes() {
        for side in SIDES {
            let c = 2048 / side;
            for n in [1, 5, 128] {
                assert!(serves([n, c, side, side], &[c, c, 3, 3]));
            }
            assert_eq!(serves([129, c, side, side], &[c, c, 3, 3]), side != 4);
            assert!(!serves([0, c, side, side], &[c, c, 3, 3]));
            assert!(!serves([5, c, side, side], &[c, c, 1, 1]));
            assert!(!serves([5, c, side, side], &[c, c / 2, 3, 3]));
            assert!(!serves([5, c, side, side + 1], &[c, c, 3, 3]));
            assert!(!serves([5, c / 2, side, side], &[c / 2, c / 2, 3, 3]));
        }
        assert!(!serves([5, 32, 64, 64], &[32, 32, 3, 3]));
    }

    #[test]
    fn elsewhere_libtorch_serves() {
        let (xs, weight) = (images(2, 4, Device::Cpu), weight(4, Device::Cpu));
        assert!(forward(&xs, &weight, [1, 1]).is_none());
        assert!(backward(&xs, &weight, [1, 1]).is_none());
    }

    // Oracle: libtorch in fp32.
    #[test]
    fn on_hopper_it_is_libtorchs() {
        where_hopper_is(is_libtorchs);
    }

    fn is_libtorchs(device: Device, batches: &[i64]) {
        for side in SIDES {
            let weight = weight(side, device);
            for &n in batches {
                let xs = images(n, side, device);
                let [x, w] = [&xs, &weight].map(|t| t.to_kind(Kind::Float));
                let expected = [
                    x.conv2d(&w, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1),
                    conv_input_gradient(&x, &x, &w, 1, 1).unwrap(),
                ];
                let find = || [forward(&xs, &weight, [1, 1]), backward(&xs, &weight, [1, 1])].map(Option::unwrap);
                for ((found, again), expected) in find().iter().zip(find()).zip(expected) {
                    assert!(is_channels_last(found) && *found == again, "{n} of side {side}");
                    // A rounding to bf16 of each number, and libtorch's own to ten bits, where its convolutions are allowed tf32.
                    assert!(off(found, &expected) < 4e-3, "{n} of side {side}: {:e}", off(found, &expected));
                }
            }
            assert!(forward(&images(2, side, device), &weight, [2, 1]).is_none());

            // Oracle: autograd.
            let d_out = drawn("d_out", &[8, 2048 / side, side, side], device).to_kind(Kind::BFloat16);
            let [xs, weight] = [images(8, side, device), weight].map(|t| t.set_requires_grad(true));
            let plain = xs.conv2d(&weight, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1);
            let [ours, plain] = [forward(&xs, &weight, [1, 1]).unwrap(), plain].map(|out| {
                let value = (out * &d_out).sum(Kind::Float);
                Tensor::run_backward(&[value], &[&xs, &weight], false, false)
            });
            for (found, expected) in ours.iter().zip(&plain) {
                assert!(off(found, expected) < 6e-3, "gradients at side {side}");
            }
        }
    }

    // Oracle: libtorch in fp32 of what the convolution was of, and in float64 of what it wrote.
    #[test]
    fn on_hopper_its_epilogues_are_the_plain_forms() {
        where_hopper_is(epilogues_are_the_plain_forms);
    }

    fn epilogues_are_the_plain_forms(device: Device, batches: &[i64]) {
        let by = [1, 1];
        for (side, &n) in SIDES.into_iter().flat_map(|side| batches.iter().map(move |n| (side, n))) {
            let (weight, c) = (weight(side, device), 2048 / side);
            let [ys, other] =
                ["ys", "other"].map(|name| drawn(name, &[n, c, side, side], device).to_kind(Kind::BFloat16));
            let xs = images(n, side, device);
            let line = ["scale", "shift", "mean"].map(|name| drawn(name, &[c], device));
            let [scale, shift, mean] = line.each_ref().map(|t| t.view([1, c, 1, 1]));
            let [x, y, w] = [&xs, &ys, &weight].map(|t| t.to_kind(Kind::Float));
            let there = x.conv2d(&w, None::<Tensor>, by, by, [1, 1], 1);
            let back = conv_input_gradient(&x, &x, &w, 1, 1).unwrap();

            let found = forward_affine_relu(&xs, &weight, by, [&line[0], &line[1]]).unwrap();
            assert!(off(&found, &(&there * &scale + &shift).relu()) < 4e-3, "affine, {n} of side {side}");
            let mask = &back * &scale * y.gt(0.0);
            let found = backward_masked(&xs, &weight, by, &ys, &line[0], None).unwrap();
            assert!(off(&found, &mask) < 4e-3, "mask, {n} of side {side}");
            let find = || backward_masked(&xs, &weight, by, &ys, &line[0], Some(&other)).unwrap();
            let found = find();
            assert!(off(&found, &(mask + &other)) < 4e-3 && found == find(), "mask and sum, {n} of side {side}");

            let find = |keeps| forward_sum_affine_relu(&xs, &weight, by, &ys, [&line[0], &line[1]], keeps).unwrap();
            let (sum, found) = find(true);
            let sum = sum.unwrap();
            assert!(off(&sum, &(&there + &y)) < 4e-3 && sum == find(true).0.unwrap(), "sum, {n} of side {side}");
            // Of the sum as it is stored.
            let expected = (sum.to_kind(Kind::Float) * &scale + &shift).relu();
            assert!(off(&found, &expected) < 4e-3 && found == find(true).1, "affine of a sum, {n} of side {side}");
            let (sum, alone) = find(false);
            assert!(sum.is_none() && alone == found, "affine of a sum alone, {n} of side {side}");

            let found = forward_affine_relu(&(&xs * f64::NAN), &weight, by, [&line[0], &line[1]]).unwrap();
            assert!(found.isnan().all().int64_value(&[]) == 1, "a NaN is not hidden, {n} of side {side}");

            if n == 5 {
                continue; // not whole groups everywhere
            }
            // In float64 from here on, of groups of pixels: (row, image, column) in a tile.
            let sums =
                |t: &Tensor| t.to_kind(Kind::Double).sum_dim_intlist([0i64, 2, 3].as_slice(), false, Kind::Double);
            for (ys, expected) in [(None, there.shallow_clone()), (Some(&ys), &there + &y)] {
                let (out, groups) = forward_statistics((&xs).into(), &weight, by, ys).unwrap();
                assert!(off(&out, &expected) < 4e-3, "statistics, {n} of side {side}");
                let found = groups.found.to_kind(Kind::Double);
                let (means, squares) = (found.select(2, 0), found.select(2, 1));
                assert!(off(&(means.sum_dim_intlist(0, false, Kind::Double) * groups.rows as f64), &sums(&out)) < 1e-5);
                let all = (squares + means.square() * groups.rows as f64).sum_dim_intlist(0, false, Kind::Double);
                assert!(off(&all, &sums(&out.to_kind(Kind::Double).square())) < 1e-5);
            }
            let (out, groups) = backward_slopes(&xs, &weight, by, &ys, line.each_ref()).unwrap();
            assert!(off(&out, &back) < 4e-3, "slopes, {n} of side {side}");
            let [o, y, m] = [&out, &ys, &mean].map(|t| t.to_kind(Kind::Double));
            let open = &o * (&y * &scale + &shift).gt(0.0);
            let found = groups.found.to_kind(Kind::Double).sum_dim_intlist(0, false, Kind::Double);
            assert!(off(&found.select(1, 0), &sums(&open)) < 1e-4);
            assert!(off(&found.select(1, 1), &sums(&(&open * (y - m)))) < 1e-4);
        }
    }
}
