//! A down-sampling block's two convolutions of the same images, 3 x 3 and 1 x 1 with stride 2, and their common input gradient by the kernel for Hopper
//! (framework/cuda/conv_down_sm90.cu): `None` where it does not apply.
//!
//! It serves the sizes of a ResNet on 32 x 32 images, where it was measured to be faster than cuDNN: docs/decisions/0016-convolution.md. `by` are stride and padding of each.

#![allow(unsafe_code)]

use super::conv::{is_dense, is_hopper};
use super::entering::{Entering, Front};
use super::groups::Groups;
use super::kernels::is_by_channel;
use crate::Result;
use crate::engine::cuda::DownSampling;
use crate::engine::raise;
use crate::nn::autograd::node;
use crate::shim::{channels_last, conv_input_gradient, conv_weight_gradient};
use tch::{Device, Tensor};

type Pair<'a> = [&'a Tensor; 2];
type By = [[i64; 2]; 2];

/// Both convolutions of `xs`. Where autograd watches, their gradients are this kernel's and libtorch's.
pub(in crate::nn) fn forward(xs: &Tensor, weights: Pair, by: By) -> Option<[Tensor; 2]> {
    let outs = tch::no_grad(|| down("", xs, weights, by, [None; 2], None))?;
    watched(outs, xs.into(), weights, by)
}

/// `outs`, both convolutions, with their gradients if autograd watches.
fn watched(outs: [Tensor; 2], entering: Entering, weights: Pair, by: By) -> Option<[Tensor; 2]> {
    let front = entering.front();
    let inputs = [entering.images(), weights[0], weights[1]];
    let needed = inputs.map(Tensor::requires_grad);
    if needed == [false; 3] {
        return Some(outs);
    }
    let [xs, weight, shortcut] = inputs.map(Tensor::shallow_clone);
    let gradients = move |found: Vec<Option<Tensor>>| {
        let Some(like) = found.iter().flatten().next() else { return Ok(vec![None, None, None]) };
        let whole = |i: usize| channels_last(found[i].as_ref().unwrap_or(&like.zeros_like()));
        let (d_outs, weights) = ([whole(0)?, whole(1)?], [&weight, &shortcut]);
        let of_input = || -> Result<Tensor> {
            let d_outs = d_outs.each_ref();
            let begin = |front: &Front| front.begin(|xs, line| backward_slopes(d_outs, weights, by, xs, line));
            if let Some(found) = front.as_ref().and_then(begin).or_else(|| backward(d_outs, weights, by)) {
                return Ok(found);
            }
            let of = |i: usize| conv_input_gradient(d_outs[i], &xs, weights[i], by[i][0], by[i][1]);
            Ok(of(0)? + of(1)?)
        };
        let of_weight = |i: usize| conv_weight_gradient(&d_outs[i], &xs, weights[i], by[i][0], by[i][1]);
        Ok(vec![
            needed[0].then(of_input).transpose()?,
            needed[1].then(|| of_weight(0)).transpose()?,
            needed[2].then(|| of_weight(1)).transpose()?,
        ])
    };
    raise(node(c"conv_down", &inputs, &outs.each_ref(), gradients)).try_into().ok()
}

/// The same, the first times scale and plus shift by channel, and 0 where that is less.
pub(super) fn forward_affine_relu(xs: &Tensor, weights: Pair, by: By, line: Pair) -> Option<[Tensor; 2]> {
    down("_affine", xs, weights, by, line.map(Some), None)
}

/// Both, and the first one's means and sums of squared deviations. Where autograd watches, as [`forward`].
pub(super) fn forward_statistics(entering: Entering, weights: Pair, by: By) -> Option<([Tensor; 2], Groups)> {
    let xs = entering.images();
    let groups = groups(outputs(xs)?, xs.size()[3], xs.device())?;
    let outs = tch::no_grad(|| down("_statistics", xs, weights, by, [None; 2], Some(&groups)))?;
    Some((watched(outs, entering, weights, by)?, groups))
}

/// The common input gradient from those with respect to both outputs.
pub(in crate::nn) fn backward(d_outs: Pair, weights: Pair, by: By) -> Option<Tensor> {
    turned("", d_outs, weights, by, None, [None; 3], None)
}

/// The same, times `scale` by channel where `out`, which the convolutions were of, is positive, else 0.
pub(super) fn backward_masked(d_outs: Pair, weights: Pair, by: By, out: &Tensor, scale: &Tensor) -> Option<Tensor> {
    turned("_mask", d_outs, weights, by, Some(out), [Some(scale), None, None], None)
}

/// The input gradient, and the two sums that the gradient of the batch norm in front takes of it; `xs` went into that, and `line` is its scale, shift and mean.
pub(super) fn backward_slopes(
    d_outs: Pair,
    weights: Pair,
    by: By,
    xs: &Tensor,
    line: [&Tensor; 3],
) -> Option<(Tensor, Groups)> {
    let size: [i64; 4] = xs.size4().ok()?.into();
    let groups = groups(size, size[3], xs.device())?;
    Some((turned("_slopes", d_outs, weights, by, Some(xs), line.map(Some), Some(&groups))?, groups))
}

/// The size of what comes of images.
fn outputs(xs: &Tensor) -> Option<[i64; 4]> {
    let (n, c, h, w) = xs.size4().ok()?;
    Some([n, 2 * c, h / 2, w / 2])
}

fn down(
    kernel: &'static str,
    xs: &Tensor,
    weights: Pair,
    by: By,
    [scale, shift]: [Option<&Tensor>; 2],
    groups: Option<&Groups>,
) -> Option<[Tensor; 2]> {
    let size = outputs(xs)?;
    let by_channel = [scale, shift, None];
    let fits = fits(xs.size4().ok()?.into(), &[xs, weights[0], weights[1]], weights, by)
        && by_channel.into_iter().flatten().all(|t| is_by_channel(t, size[1], xs.device()));
    if !fits {
        return None;
    }
    let small = [(); 2].map(|()| images(size, xs));
    let [first, second] = &small;
    launch(DownSampling {
        turned: false,
        kernel,
        large: xs,
        weights,
        small: [first, second],
        beside: None,
        by_channel,
        groups: groups.map(|groups| &groups.found),
    })?;
    Some(small)
}

fn turned(
    kernel: &'static str,
    d_outs: Pair,
    weights: Pair,
    by: By,
    beside: Option<&Tensor>,
    by_channel: [Option<&Tensor>; 3],
    groups: Option<&Groups>,
) -> Option<Tensor> {
    let (n, c, h, w) = d_outs[0].size4().ok()?;
    let (size, device) = ([n, c / 2, 2 * h, 2 * w], d_outs[0].device());
    let fits = d_outs[0].size() == d_outs[1].size()
        && fits(size, &[d_outs[0], d_outs[1], weights[0], weights[1]], weights, by)
        && beside.is_none_or(|t| is_dense(t, device) && t.size() == size)
        && by_channel.into_iter().flatten().all(|t| is_by_channel(t, size[1], device));
    if !fits {
        return None;
    }
    let out = images(size, d_outs[0]);
    launch(DownSampling {
        turned: true,
        kernel,
        large: &out,
        weights,
        small: d_outs,
        beside,
        by_channel,
        groups: groups.map(|groups| &groups.found),
    })?;
    Some(out)
}

fn launch(work: DownSampling) -> Option<()> {
    // # Safety
    // `fits` and who calls it checked kinds, sizes, layout and device; `Groups` made room for what is found; the functions above give each kernel what it takes; fresh memory is
    // aligned.
    unsafe { work.launch() }.ok()
}

/// Fresh images of this size, channels-last.
fn images([n, c, h, w]: [i64; 4], like: &Tensor) -> Tensor {
    Tensor::empty_strided([n, c, h, w], [h * w * c, 1, w * c, c], (like.kind(), like.device()))
}

/// Room for what is found of images of this size, which belong to large ones of side `large`.
fn groups(size: [i64; 4], large: i64, device: Device) -> Option<Groups> {
    // Pixels of a group, and images of a tile, as in framework/cuda/conv_down_shape.h.
    let (rows, at_once) = match large {
        32 => (128, 1),
        16 => (128, 2),
        _ => (64, 8),
    };
    Groups::with_room(size, [rows, at_once], device)
}

/// Whether these are among the convolutions that the kernel is for, of images of this size, and the tensors as it reads them.
fn fits(size: [i64; 4], read: &[&Tensor], weights: Pair, by: By) -> bool {
    by == [[2, 1], [2, 0]]
        && serves(size, weights.map(|weight| weight.size()))
        && is_hopper(read[0].device())
        && read.iter().all(|t| is_dense(t, read[0].device()))
}

/// Whether images `[N, C, H, W]` with weights of these sizes are among those the kernel is for.
fn serves([n, c, h, w]: [i64; 4], weights: [Vec<i64>; 2]) -> bool {
    // As for the other convolutions: a larger batch does not fit on all multiprocessors at once.
    let most = if w == 8 { 128 } else { i64::MAX };
    [32, 16, 8].contains(&w)
        && h == w
        && c == 2048 / w
        && weights == [vec![2 * c, c, 3, 3], vec![2 * c, c, 1, 1]]
        && (1..=most).contains(&n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::fused::tests::{drawn, off, where_hopper_is};
    use tch::Kind;

    const BY: By = [[2, 1], [2, 0]];
    /// Of the large images.
    const SIDES: [i64; 3] = [32, 16, 8];

    fn large(name: &str, n: i64, side: i64, device: Device) -> Tensor {
        drawn(name, &[n, 2048 / side, side, side], device).to_kind(Kind::BFloat16)
    }

    fn small(n: i64, side: i64, device: Device) -> [Tensor; 2] {
        ["d_out", "d_shortcut"]
            .map(|name| drawn(name, &[n, 4096 / side, side / 2, side / 2], device).to_kind(Kind::BFloat16))
    }

    fn weights(side: i64, device: Device) -> [Tensor; 2] {
        let c = 2048 / side;
        [3, 1].map(|k| {
            (drawn("weight", &[2 * c, c, k, k], device) * (2.0 / (k * k * c) as f64).sqrt()).to_kind(Kind::BFloat16)
        })
    }

    /// libtorch's, in the kind of what it is given.
    fn plain(xs: &Tensor, weights: Pair) -> [Tensor; 2] {
        [0, 1].map(|i| {
            let [stride, padding] = BY[i].map(|by| [by; 2]);
            xs.conv2d(weights[i], None::<Tensor>, stride, padding, [1, 1], 1)
        })
    }

    fn whole<const N: usize>(tensors: [&Tensor; N]) -> [Tensor; N] {
        tensors.map(|t| t.to_kind(Kind::Float))
    }

    #[test]
    fn it_serves_a_resnets_sizes() {
        for side in SIDES {
            let c = 2048 / side;
            let serves = |n, c, w, weights: [[i64; 4]; 2]| serves([n, c, side, w], weights.map(|size| size.to_vec()));
            let weights = [[2 * c, c, 3, 3], [2 * c, c, 1, 1]];
            for n in [1, 5, 128] {
                assert!(serves(n, c, side, weights));
            }
            assert_eq!(serves(129, c, side, weights), side != 8);
            assert!(!serves(0, c, side, weights));
            assert!(!serves(5, c, side, [weights[1], weights[0]]));
            assert!(!serves(5, c, side, [[c, c, 3, 3], [c, c, 1, 1]]));
            assert!(!serves(5, c, side + 1, weights));
            assert!(!serves(5, c / 2, side, weights));
        }
        assert!(!serves([5, 512, 4, 4], [vec![1024, 512, 3, 3], vec![1024, 512, 1, 1]]));
    }

    #[test]
    fn elsewhere_libtorch_serves() {
        let (xs, weights) = (large("images", 2, 8, Device::Cpu), weights(8, Device::Cpu));
        assert!(forward(&xs, weights.each_ref(), BY).is_none());
        assert!(backward(small(2, 8, Device::Cpu).each_ref(), weights.each_ref(), BY).is_none());
    }

    // Oracle: libtorch in fp32, and autograd.
    #[test]
    fn on_hopper_they_are_libtorchs() {
        where_hopper_is(are_libtorchs);
    }

    fn are_libtorchs(device: Device, batches: &[i64]) {
        for (side, &n) in SIDES.into_iter().flat_map(|side| batches.iter().map(move |n| (side, n))) {
            let (xs, weights, d_outs) =
                (large("images", n, side, device), weights(side, device), small(n, side, device));
            let ([x, w3, w1], [d3, d1]) = (whole([&xs, &weights[0], &weights[1]]), whole(d_outs.each_ref()));
            let [out, shortcut] = plain(&x, [&w3, &w1]);
            let gradient =
                conv_input_gradient(&d3, &x, &w3, 2, 1).unwrap() + conv_input_gradient(&d1, &x, &w1, 2, 0).unwrap();
            let find = || {
                let [out, shortcut] = forward(&xs, weights.each_ref(), BY).unwrap();
                [out, shortcut, backward(d_outs.each_ref(), weights.each_ref(), BY).unwrap()]
            };
            for ((found, again), expected) in find().iter().zip(find()).zip([out, shortcut, gradient]) {
                assert!(crate::shim::is_channels_last(found) && *found == again, "{n} of side {side}");
                // A rounding to bf16 of each number, and libtorch's own to ten bits, where its convolutions are allowed tf32.
                assert!(off(found, &expected) < 4e-3, "{n} of side {side}: {:e}", off(found, &expected));
            }
            assert!(forward(&xs, weights.each_ref(), [[1, 1], [1, 0]]).is_none());

            let [xs, w3, w1] = [&xs, &weights[0], &weights[1]].map(|t| t.detach().set_requires_grad(true));
            let theirs = plain(&xs, [&w3, &w1]);
            let ours = forward(&xs, [&w3, &w1], BY).unwrap();
            for used in [&[0, 1][..], &[0], &[1]] {
                let gradients = |outs: &[Tensor; 2]| {
                    let value: Tensor = used.iter().map(|&i| (&outs[i] * &d_outs[i]).sum(Kind::Float)).sum();
                    let inputs: Vec<&Tensor> = [&xs].into_iter().chain(used.iter().map(|&i| [&w3, &w1][i])).collect();
                    Tensor::run_backward(&[value], &inputs, true, false)
                };
                for (found, expected) in gradients(&ours).iter().zip(&gradients(&theirs)) {
                    assert!(off(found, expected) < 8e-3, "gradients of {used:?}, {n} of side {side}");
                }
            }
        }
    }

    // Oracle: libtorch in fp32 of what the convolutions were of, and in float64 of what they wrote.
    #[test]
    fn on_hopper_their_epilogues_are_the_plain_forms() {
        where_hopper_is(epilogues_are_the_plain_forms);
    }

    fn epilogues_are_the_plain_forms(device: Device, batches: &[i64]) {
        let sums = |t: &Tensor| t.to_kind(Kind::Double).sum_dim_intlist([0i64, 2, 3].as_slice(), false, Kind::Double);
        let total = |t: &Tensor| t.sum_dim_intlist(0, false, Kind::Double);
        let whole_groups = batches.iter().filter(|n| *n % 8 == 0);
        for (side, &n) in SIDES.into_iter().flat_map(|side| whole_groups.clone().map(move |n| (side, n))) {
            let (xs, weights, d_outs) =
                (large("images", n, side, device), weights(side, device), small(n, side, device));
            let ([x, w3, w1], [d3, d1]) = (whole([&xs, &weights[0], &weights[1]]), whole(d_outs.each_ref()));
            let (weights, d_outs, c) = (weights.each_ref(), d_outs.each_ref(), 2048 / side);
            let line = |c: i64| ["scale", "shift", "mean"].map(|name| drawn(name, &[c], device));
            let by_channel = |t: &Tensor| t.view([1, -1, 1, 1]);
            let [there, shortcut] = plain(&x, [&w3, &w1]);
            let back =
                conv_input_gradient(&d3, &x, &w3, 2, 1).unwrap() + conv_input_gradient(&d1, &x, &w1, 2, 0).unwrap();

            let [scale, shift, _] = line(2 * c);
            let [out, other] = forward_affine_relu(&xs, weights, BY, [&scale, &shift]).unwrap();
            let expected = (&there * by_channel(&scale) + by_channel(&shift)).relu();
            assert!(off(&out, &expected) < 4e-3 && off(&other, &shortcut) < 4e-3, "affine, {n} of side {side}");

            let ([out, other], groups) = forward_statistics((&xs).into(), weights, BY).unwrap();
            assert!(off(&out, &there) < 4e-3 && off(&other, &shortcut) < 4e-3, "statistics, {n} of side {side}");
            let found = groups.found.to_kind(Kind::Double);
            let (means, squares) = (found.select(2, 0), found.select(2, 1));
            assert!(off(&(total(&means) * groups.rows as f64), &sums(&out)) < 1e-5);
            let all = total(&(squares + means.square() * groups.rows as f64));
            assert!(off(&all, &sums(&out.to_kind(Kind::Double).square())) < 1e-5);

            let line = line(c);
            let [scale, shift, mean] = line.each_ref().map(by_channel);
            let ys = large("ys", n, side, device);
            let found = backward_masked(d_outs, weights, BY, &ys, &line[0]).unwrap();
            assert!(off(&found, &(&back * &scale * ys.gt(0.0))) < 4e-3, "mask, {n} of side {side}");

            let (out, groups) = backward_slopes(d_outs, weights, BY, &ys, line.each_ref()).unwrap();
            assert!(off(&out, &back) < 4e-3, "slopes, {n} of side {side}");
            let [o, y, m] = [&out, &ys, &mean].map(|t| t.to_kind(Kind::Double));
            let open = &o * (&y * &scale + &shift).gt(0.0);
            let found = total(&groups.found.to_kind(Kind::Double));
            assert!(off(&found.select(1, 0), &sums(&open)) < 1e-4);
            assert!(off(&found.select(1, 1), &sums(&(&open * (y - m)))) < 1e-4);
        }
    }
}
