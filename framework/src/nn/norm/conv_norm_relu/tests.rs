//! Convolutions, batch norms and ReLUs together, as two blocks of a network.

use super::*;
use crate::nn::kernels::tests::where_hopper_is;
use crate::nn::{Builder, Noise, Parameters};
use crate::shim::channels_last;
use tch::{Device, Kind};

/// Two pre-activation blocks, the second one down-sampling, between `c` and 2 `c` channels.
struct Blocks {
    norms: [BatchNorm2d; 5],
    convs: [Conv2d; 5],
}

impl Blocks {
    fn new(nn: &Builder, c: i64) -> Self {
        let norm = |name: &str, c: i64| BatchNorm2d::new(nn, name, c);
        let conv = |name: &str, channels: [i64; 2], [kernel, stride, padding]: [i64; 3]| {
            Conv2d::he_fan_out(nn, name, channels, kernel, stride, padding)
        };
        Self {
            norms: [norm("n1", c), norm("n2", c), norm("n3", c), norm("n4", 2 * c), norm("n5", 2 * c)],
            convs: [
                conv("c1", [c, c], [3, 1, 1]),
                conv("c2", [c, c], [3, 1, 1]),
                conv("c3", [c, 2 * c], [3, 2, 1]),
                conv("c4", [2 * c, 2 * c], [3, 1, 1]),
                conv("shortcut", [c, 2 * c], [1, 2, 0]),
            ],
        }
    }

    /// What leaves them, activated; with or without what this file is about. `xs` is used twice,
    /// and so is the sum of the first block.
    fn pass(&self, pass: &Pass, xs: &Tensor, fused: bool) -> [Tensor; 2] {
        let ([n1, n2, n3, n4, n5], [c1, c2, c3, c4, shortcut]) = (&self.norms, &self.convs);
        if !fused {
            let (xs, first) = n1.add_norm_relu(pass, xs, &xs.zeros_like());
            let between = n2.norm_relu(pass, &c1.forward(pass, &first.out)).out;
            let (sum, second) = n3.add_norm_relu(pass, &c2.forward(pass, &between), &xs);
            let [ys, other] = Conv2d::forward_pair(pass, [c3, shortcut], &second.out);
            let between = n4.norm_relu(pass, &ys).out;
            return [n5.add_norm_relu(pass, &c4.forward(pass, &between), &other).1.out, sum];
        }
        let (xs, first) = n1.add_norm_relu(pass, xs, &xs.zeros_like());
        let between = n2.conv_norm_relu(pass, c1, &first);
        let (sum, second) = n3.conv_add_norm_relu(pass, c2, &between, &xs);
        let (between, other) = n4.conv_pair_norm_relu(pass, [c3, shortcut], &second);
        [n5.conv_add_norm_relu_without_sum(pass, c4, &between, &other).out, sum]
    }
}

fn normal(name: &str, size: [i64; 4], device: Device) -> Tensor {
    let noise = Noise::seeded(&[3], size[0], device);
    channels_last(&noise.normal(name, &size[1..], Kind::Float)).unwrap().to_kind(Kind::BFloat16)
}

fn images([n, c, side]: [i64; 3], device: Device) -> Tensor {
    normal("x", [n, c, side, side], device) + 0.5
}

/// Blocks whose weights are numbers of bf16, for images in `kind`.
fn blocks(kind: Kind, c: i64, device: Device) -> (Parameters, Blocks) {
    let nn = Builder::default();
    let blocks = Blocks::new(&nn, c);
    let master = if kind == Kind::BFloat16 { Kind::Float } else { kind };
    let mut params: Parameters = nn.finish(Some(1), master, device);
    params.flat().shallow_clone().copy_(&params.flat().to_kind(Kind::BFloat16));
    params.add_bf16_copy();
    (params, blocks)
}

/// What a pass that autograd watches makes of `n` images of this side in `kind`, the gradients of
/// images and parameters, and the running statistics.
fn with_autograd(kind: Kind, [n, c, side]: [i64; 3], device: Device, fused: bool) -> Vec<(String, Tensor)> {
    let (params, blocks) = blocks(kind, c, device);
    let pass = params.pass(Mode::Train, true, kind == Kind::BFloat16, 0, None);
    let xs = images([n, c, side], device).to_kind(kind).set_requires_grad(true);
    let outs = blocks.pass(&pass, &xs, fused);
    let value: Tensor =
        outs.iter().map(|out| (out * normal("g", out.size4().unwrap().into(), device)).sum(Kind::Double)).sum();
    let wanted: Vec<&Tensor> = [&xs].into_iter().chain(params.drain_grad_views()).collect();
    let gradients = Tensor::run_backward(&[value], &wanted, false, false);
    let names = ["d_x"].into_iter().chain(params.names()).map(str::to_string);
    let mut found: Vec<_> = ["out", "sum"].map(str::to_string).into_iter().zip(outs).collect();
    found.extend(names.zip(gradients));
    found.extend(params.state_dict().into_iter().filter(|(name, _)| name.contains("running")));
    found.iter().map(|(name, t)| (name.clone(), t.detach().to_kind(Kind::Double))).collect()
}

fn off(found: &Tensor, expected: &Tensor) -> f64 {
    ((found - expected).norm() / expected.norm()).double_value(&[])
}

// Oracle: the same pass of batch norms and convolutions by themselves.
#[test]
fn with_autograd_convolutions_and_norms_are_themselves() {
    for kind in [Kind::Double, Kind::Float] {
        let [found, expected] = [true, false].map(|fused| with_autograd(kind, [2, 8, 8], Device::Cpu, fused));
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{name} {kind:?}");
        }
    }
}

// Oracle: libtorch in float64, and how near to it convolutions and batch norms by themselves are,
// whose numbers are rounded as often: a ReLU that rounding opens or shuts puts gradients a tenth
// away in bf16, libtorch's too.
#[test]
fn with_autograd_hoppers_epilogues_are_too() {
    where_hopper_is(|device, _| {
        // Five images are not whole groups at 8 x 8.
        for (side, n) in [(32, 8), (16, 8), (8, 8), (32, 5), (8, 5)] {
            let size = [n, 2048 / side, side];
            let exact = with_autograd(Kind::Double, size, device, false);
            let [ours, again, apart] =
                [true, true, false].map(|fused| with_autograd(Kind::BFloat16, size, device, fused));
            for (i, (name, expected)) in exact.iter().enumerate() {
                let [found, apart] = [&ours, &apart].map(|of| off(&of[i].1, expected));
                println!("{n} of side {side}: {name} by {found:.1e}, apart {apart:.1e}");
                assert!(
                    found < 1.6 * apart + 2e-3 && found < 0.2,
                    "{n} of side {side}: {name} by {found:e}, {apart:e}"
                );
                // cuDNN's gradients of weights may add in any order.
                let is_filter = expected.dim() == 4 && name.ends_with(".weight");
                assert!(is_filter || ours[i].1 == again[i].1, "{n} of side {side}: {name} has other bits each time");
            }
            // The sum of a convolution and a shortcut is rounded once.
            assert!(n != 8 || ours[1].1 != apart[1].1, "{n} of side {side}: the kernels took no part");
        }
    });
}

/// What a pass of an attack makes of eight images of this side, and the gradient of the images
/// without autograd, or with it and libtorch.
fn attacked(kind: Kind, mode: Mode, side: i64, device: Device, own: bool) -> [Tensor; 3] {
    let (params, blocks) = blocks(kind, 2048 / side, device);
    let pass = params.pass(mode, false, kind == Kind::BFloat16, 0, None);
    let xs = images([8, 2048 / side, side], device).to_kind(kind);
    let gradient_of = |out: &Tensor| normal("g", out.size4().unwrap().into(), device);
    if !own {
        let xs = xs.set_requires_grad(true);
        let outs = blocks.pass(&pass, &xs, false);
        let value: Tensor = outs.iter().map(|out| (out * gradient_of(out)).sum(Kind::Double)).sum();
        let [out, sum] = outs.map(|t| t.detach());
        return [out, sum, Tensor::run_backward(&[value], &[&xs], false, false).remove(0)];
    }
    let ([n1, n2, n3, n4, n5], [c1, c2, c3, c4, shortcut]) = (&blocks.norms, &blocks.convs);
    let first = n1.norm_relu(&pass, &xs);
    let between = n2.conv_norm_relu(&pass, c1, &first);
    let (sum, second) = n3.conv_add_norm_relu(&pass, c2, &between, &xs);
    let (inner, other) = n4.conv_pair_norm_relu(&pass, [c3, shortcut], &second);
    let last = n5.conv_add_norm_relu_without_sum(&pass, c4, &inner, &other);
    let d_last = last.input_gradient(gradient_of(&last.out), None);
    let d_inner = inner.conv_input_gradient(&pass, c4, &d_last, None);
    let d_sum = second.conv_pair_input_gradient(&pass, [c3, shortcut], [&d_inner, &d_last]) + gradient_of(&sum);
    let d_between = between.conv_input_gradient(&pass, c2, &d_sum, None);
    [last.out, sum, first.conv_input_gradient(&pass, c1, &d_between, Some(&d_sum))]
}

// Oracle: autograd in float64, and how near to it libtorch is in bf16.
#[test]
fn an_attacks_gradient_by_hoppers_epilogues_is_autograds() {
    where_hopper_is(|device, _| {
        for (side, mode) in [32, 16, 8].into_iter().flat_map(|side| [(side, Mode::Eval), (side, Mode::Train)]) {
            let before = foil_host_kernels::counts();
            let ours = attacked(Kind::BFloat16, mode, side, device, true);
            if device == Device::Cpu {
                let halved = side / 2;
                let mut expected = match mode {
                    Mode::Eval => vec![
                        (format!("conv_{side}_affine"), 1),
                        (format!("conv_{side}_sum_affine"), 1),
                        (format!("down_{halved}_affine"), 1),
                        (format!("conv_{halved}_sum_affine"), 1),
                        (format!("conv_{halved}_turned_mask"), 1),
                        (format!("down_{halved}_turned_mask"), 1),
                        (format!("conv_{side}_turned_mask"), 1),
                        (format!("conv_{side}_turned_mask_sum"), 1),
                    ],
                    Mode::Train | Mode::Still => vec![
                        (format!("conv_{side}_statistics"), 1),
                        (format!("conv_{side}_sum_statistics"), 1),
                        (format!("down_{halved}_statistics"), 1),
                        (format!("conv_{halved}_sum_statistics"), 1),
                        (format!("conv_{halved}_turned_slopes"), 1),
                        (format!("down_{halved}_turned_slopes"), 1),
                        (format!("conv_{side}_turned_slopes"), 2),
                    ],
                };
                expected.sort();
                let since = |(name, n): (String, u64)| {
                    let n = n - before.get(&name).copied().unwrap_or(0);
                    (n > 0).then_some((name, n))
                };
                let is_convolution = |(name, _): &(String, u64)| name.starts_with("conv_") || name.starts_with("down_");
                let all = foil_host_kernels::counts().into_iter().filter(is_convolution);
                let launched: Vec<_> = all.filter_map(since).collect();
                assert_eq!(launched, expected);
            }
            let exact = attacked(Kind::Double, mode, side, device, false);
            let theirs = attacked(Kind::BFloat16, mode, side, device, false);
            for (i, what) in ["out", "sum", "gradient"].iter().enumerate() {
                let [found, theirs] = [&ours, &theirs].map(|of| off(&of[i].to_kind(Kind::Double), &exact[i]));
                println!("{mode:?}, side {side}: {what} by {found:.1e}, libtorch {theirs:.1e}");
                assert!(
                    found < 1.6 * theirs + 2e-3 && found < 0.2,
                    "{mode:?}, side {side}: {what} by {found:e}, {theirs:e}"
                );
            }
        }
    });
}
