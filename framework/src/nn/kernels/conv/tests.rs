//! Both kinds of convolutions and their epilogues against libtorch's.

use super::*;
use crate::nn::kernels::tests::{drawn, off, where_hopper_is};
use crate::shim::is_channels_last;
use tch::{Device, Kind};

/// The sides of the images that each kind is for: of one convolution, and of the input of two.
const SIDES: [&[i64]; 2] = [&[32, 16, 8, 4], &[32, 16, 8]];
const ONE: [[i64; 2]; 1] = [[1, 1]];
const TWO: [[i64; 2]; 2] = [[2, 1], [2, 0]];

/// Images in front of a convolution of this side, or with `halved` behind a down-sampling block's.
fn images(name: &str, n: i64, side: i64, halved: bool, device: Device) -> Tensor {
    let side = if halved { side / 2 } else { side };
    drawn(name, &[n, 2048 / side, side, side], device).to_kind(Kind::BFloat16)
}

/// Weights of `K` convolutions of images of this side.
fn weights<const K: usize>(side: i64, device: Device) -> [Tensor; K] {
    let (c, outputs) = (2048 / side, K as i64 * 2048 / side);
    from_fn(|i| {
        let k = if i == 0 { 3 } else { 1 };
        (drawn("weight", &[outputs, c, k, k], device) * (2.0 / (k * k * c) as f64).sqrt()).to_kind(Kind::BFloat16)
    })
}

fn stride_padding<const K: usize>() -> [[i64; 2]; K] {
    from_fn(|i| if K == 1 { ONE[i] } else { TWO[i] })
}

fn convolutions<'a, const K: usize>(weights: &'a [Tensor; K]) -> Convolutions<'a, K> {
    Convolutions { weights: weights.each_ref(), stride_padding: stride_padding::<K>() }
}

/// libtorch's, in the kind of what it is given.
fn plain<const K: usize>(xs: &Tensor, weights: [&Tensor; K]) -> [Tensor; K] {
    from_fn(|i| {
        let [stride, padding] = stride_padding::<K>()[i].map(|by| [by; 2]);
        xs.conv2d(weights[i], None::<Tensor>, stride, padding, [1, 1], 1)
    })
}

/// libtorch's input gradient.
fn plain_backward<const K: usize>(d_outs: [&Tensor; K], xs: &Tensor, weights: [&Tensor; K]) -> Tensor {
    let gradient = |i: usize| {
        let [stride, padding] = stride_padding::<K>()[i];
        conv_input_gradient(d_outs[i], xs, weights[i], stride, padding).unwrap()
    };
    (0..K).map(gradient).reduce(|sum, gradient| sum + gradient).unwrap()
}

fn fp32<const K: usize>(tensors: [&Tensor; K]) -> [Tensor; K] {
    tensors.map(|t| t.to_kind(Kind::Float))
}

/// Gradients with respect to what the convolutions write.
fn d_outs<const K: usize>(n: i64, side: i64, device: Device) -> [Tensor; K] {
    from_fn(|i| images(["d_out", "d_shortcut"][i], n, side, K == 2, device))
}

#[test]
fn a_resnets_sizes_are_supported() {
    for side in SIDES[0] {
        let c = 2048 / side;
        let supports = |n, w, c, weight: [i64; 4]| supports_sizes([n, c, *side, w], &[weight.to_vec()], &ONE);
        for n in [1, 5, 128] {
            assert!(supports(n, *side, c, [c, c, 3, 3]));
        }
        assert_eq!(supports(129, *side, c, [c, c, 3, 3]), *side != 4);
        assert!(!supports(0, *side, c, [c, c, 3, 3]));
        assert!(!supports(5, *side, c, [c, c, 1, 1]));
        assert!(!supports(5, *side, c, [c, c / 2, 3, 3]));
        assert!(!supports(5, side + 1, c, [c, c, 3, 3]));
        assert!(!supports(5, *side, c / 2, [c / 2, c / 2, 3, 3]));
        assert!(!supports_sizes([5, c, *side, *side], &[vec![c, c, 3, 3]], &[[2, 1]]));
    }
    assert!(!supports_sizes([5, 32, 64, 64], &[vec![32, 32, 3, 3]], &ONE));
}

#[test]
fn a_down_sampling_blocks_sizes_are_supported() {
    for side in SIDES[1] {
        let c = 2048 / side;
        let supports = |n, c, w, weights: [[i64; 4]; 2]| {
            supports_sizes([n, c, *side, w], &weights.map(|size| size.to_vec()), &TWO)
        };
        let weights = [[2 * c, c, 3, 3], [2 * c, c, 1, 1]];
        for n in [1, 5, 128] {
            assert!(supports(n, c, *side, weights));
        }
        assert_eq!(supports(129, c, *side, weights), *side != 8);
        assert!(!supports(0, c, *side, weights));
        assert!(!supports(5, c, *side, [weights[1], weights[0]]));
        assert!(!supports(5, c, *side, [[c, c, 3, 3], [c, c, 1, 1]]));
        assert!(!supports(5, c, side + 1, weights));
        assert!(!supports(5, c / 2, *side, weights));
    }
    assert!(!supports_sizes([5, 512, 4, 4], &[vec![1024, 512, 3, 3], vec![1024, 512, 1, 1]], &TWO));
}

#[test]
fn elsewhere_libtorch_takes_over() {
    fn declines<const K: usize>() {
        let (xs, weights) = (images("images", 2, 8, false, Device::Cpu), weights::<K>(8, Device::Cpu));
        assert!(convolutions(&weights).forward(&xs).is_none());
        assert!(convolutions(&weights).backward(d_outs::<K>(2, 8, Device::Cpu).each_ref()).is_none());
    }
    declines::<1>();
    declines::<2>();
}

// Oracle: libtorch in fp32, and autograd.
#[test]
fn on_hopper_they_are_libtorchs() {
    where_hopper_is(are_libtorchs::<1>);
    where_hopper_is(are_libtorchs::<2>);
}

fn are_libtorchs<const K: usize>(device: Device, batches: &[i64]) {
    for (&side, &n) in SIDES[K - 1].iter().flat_map(|side| batches.iter().map(move |n| (side, n))) {
        let (xs, weights, d_outs) =
            (images("images", n, side, false, device), weights::<K>(side, device), d_outs::<K>(n, side, device));
        let ([x], w, d) = (fp32([&xs]), fp32(weights.each_ref()), fp32(d_outs.each_ref()));
        let expected: Vec<Tensor> =
            plain(&x, w.each_ref()).into_iter().chain([plain_backward(d.each_ref(), &x, w.each_ref())]).collect();
        let convs = convolutions(&weights);
        let find = || -> Vec<Tensor> {
            convs.forward(&xs).unwrap().into_iter().chain(convs.backward(d_outs.each_ref())).collect()
        };
        assert_eq!(find().len(), K + 1);
        for ((found, again), expected) in find().iter().zip(find()).zip(expected) {
            assert!(is_channels_last(found) && *found == again, "{K}: {n} of side {side}");
            // A rounding to bf16 of each number, and libtorch's own to ten bits, where its
            // convolutions are allowed tf32.
            assert!(off(found, &expected) < 4e-3, "{K}: {n} of side {side}: {:e}", off(found, &expected));
        }
        let other = Convolutions { stride_padding: [[3, 1]; K], ..convs };
        assert!(other.forward(&xs).is_none());

        let xs = xs.detach().set_requires_grad(true);
        let weights = weights.each_ref().map(|t| t.detach().set_requires_grad(true));
        let theirs = plain(&xs, weights.each_ref());
        let ours = convolutions(&weights).forward(&xs).unwrap();
        let all: Vec<usize> = (0..K).collect();
        for used in std::iter::once(&all[..]).chain(all.chunks(1)) {
            let gradients = |outs: &[Tensor; K]| {
                let value: Tensor = used.iter().map(|&i| (&outs[i] * &d_outs[i]).sum(Kind::Float)).sum();
                let inputs: Vec<&Tensor> = [&xs].into_iter().chain(used.iter().map(|&i| &weights[i])).collect();
                Tensor::run_backward(&[value], &inputs, true, false)
            };
            for (found, expected) in gradients(&ours).iter().zip(&gradients(&theirs)) {
                assert!(off(found, expected) < 8e-3, "{K}: gradients of {used:?}, {n} of side {side}");
            }
        }
    }
}

/// Sums by channel, in float64.
fn sums(t: &Tensor) -> Tensor {
    t.to_kind(Kind::Double).sum_dim_intlist([0i64, 2, 3].as_slice(), false, Kind::Double)
}

/// Sums over groups, in float64.
fn total(t: &Tensor) -> Tensor {
    t.to_kind(Kind::Double).sum_dim_intlist(0, false, Kind::Double)
}

fn by_channel(t: &Tensor) -> Tensor {
    t.view([1, -1, 1, 1])
}

fn factors(c: i64, device: Device) -> [Tensor; 3] {
    ["scale", "shift", "mean"].map(|name| drawn(name, &[c], device))
}

/// Whether moments of groups are those of `out`.
fn are_moments(moments: &PartialSums, out: &Tensor) {
    let found = moments.sums.to_kind(Kind::Double);
    let (means, squares) = (found.select(2, 0), found.select(2, 1));
    assert!(off(&(total(&means) * moments.group as f64), &sums(out)) < 1e-5);
    let all = total(&(squares + means.square() * moments.group as f64));
    assert!(off(&all, &sums(&out.to_kind(Kind::Double).square())) < 1e-5);
}

// Oracle: libtorch in fp32 of what the convolutions were of, and in float64 of what they wrote.
#[test]
fn on_hopper_their_epilogues_are_the_plain_forms() {
    where_hopper_is(epilogues_are_plain::<1>);
    where_hopper_is(epilogues_are_plain::<2>);
    where_hopper_is(residuals_are_plain);
}

fn epilogues_are_plain<const K: usize>(device: Device, batches: &[i64]) {
    for (&side, &n) in SIDES[K - 1].iter().flat_map(|side| batches.iter().map(move |n| (side, n))) {
        let what = format!("{K}: {n} of side {side}");
        let (xs, weights, d_outs) =
            (images("images", n, side, false, device), weights::<K>(side, device), d_outs::<K>(n, side, device));
        let ([x], w, d) = (fp32([&xs]), fp32(weights.each_ref()), fp32(d_outs.each_ref()));
        let (there, back) = (plain(&x, w.each_ref()), plain_backward(d.each_ref(), &x, w.each_ref()));
        let (convs, d_outs, c) = (convolutions(&weights), d_outs.each_ref(), 2048 / side);
        let rest_is_plain = |outs: &[Tensor; K]| (1..K).all(|i| off(&outs[i], &there[i]) < 4e-3);

        let [scale, shift, _] = factors(K as i64 * c, device);
        let affine = |xs: &Tensor| convs.forward_affine_relu(xs, [&scale, &shift], None, false).unwrap().1;
        let outs = affine(&xs);
        let expected = (&there[0] * by_channel(&scale) + by_channel(&shift)).relu();
        assert!(off(&outs[0], &expected) < 4e-3 && rest_is_plain(&outs), "affine, {what}");
        let outs = affine(&(&xs * f64::NAN));
        assert!(outs[0].isnan().all().int64_value(&[]) == 1, "a NaN is not hidden, {what}");

        let ys = images("ys", n, side, false, device);
        let factors = factors(c, device);
        let [scale, shift, mean] = factors.each_ref().map(by_channel);
        let masked = &back * &scale * ys.gt(0.0);
        let found = convs.backward_masked(d_outs, &ys, &factors[0], None).unwrap();
        assert!(off(&found, &masked) < 4e-3, "mask, {what}");

        if n == 5 {
            continue; // not whole groups everywhere
        }
        let (outs, moments) = convs.forward_statistics(&xs, None, None).unwrap();
        assert!(off(&outs[0], &there[0]) < 4e-3 && rest_is_plain(&outs), "statistics, {what}");
        are_moments(&moments, &outs[0]);

        let (out, found) = convs.backward_grad_sums(d_outs, &ys, factors.each_ref()).unwrap();
        assert!(off(&out, &back) < 4e-3, "sums of a gradient, {what}");
        let [o, y, m] = [&out, &ys, &mean].map(|t| t.to_kind(Kind::Double));
        let open = &o * (&y * &scale + &shift).gt(0.0);
        let found = total(&found.sums);
        assert!(off(&found.select(1, 0), &sums(&open)) < 1e-4, "{what}");
        assert!(off(&found.select(1, 1), &sums(&(&open * (y - m)))) < 1e-4, "{what}");
    }
}

/// What one convolution alone does: it adds a shortcut, or a shortcut's gradient.
fn residuals_are_plain(device: Device, batches: &[i64]) {
    for (&side, &n) in SIDES[0].iter().flat_map(|side| batches.iter().map(move |n| (side, n))) {
        let what = format!("{n} of side {side}");
        let (weights, c) = (weights::<1>(side, device), 2048 / side);
        let [xs, ys, other] = ["images", "ys", "other"].map(|name| images(name, n, side, false, device));
        let [x, y, w] = fp32([&xs, &ys, &weights[0]]);
        let [there] = plain(&x, [&w]);
        let [factor, summand, _] = factors(c, device);
        let [scale, shift] = [&factor, &summand].map(by_channel);
        let convs = convolutions(&weights);

        let masked = plain_backward([&x], &x, [&w]) * &scale * y.gt(0.0);
        let find = || convs.backward_masked([&xs], &ys, &factor, Some(&other)).unwrap();
        let found = find();
        assert!(off(&found, &(masked + &other)) < 4e-3 && found == find(), "mask and sum, {what}");

        let find = |keeps_sum| {
            let (sum, [out]) = convs.forward_affine_relu(&xs, [&factor, &summand], Some(&ys), keeps_sum).unwrap();
            (sum, out)
        };
        let (sum, found) = find(true);
        let sum = sum.unwrap();
        assert!(off(&sum, &(&there + &y)) < 4e-3 && sum == find(true).0.unwrap(), "sum, {what}");
        // Of the sum as it is stored.
        let expected = (sum.to_kind(Kind::Float) * &scale + &shift).relu();
        assert!(off(&found, &expected) < 4e-3 && found == find(true).1, "affine of a sum, {what}");
        let (sum, alone) = find(false);
        assert!(sum.is_none() && alone == found, "affine of a sum alone, {what}");

        if n == 5 {
            continue;
        }
        let ([out], moments) = convs.forward_statistics(&xs, None, Some(&ys)).unwrap();
        assert!(off(&out, &(&there + &y)) < 4e-3, "statistics of a sum, {what}");
        are_moments(&moments, &out);
    }
}
