//! A 3 x 3 convolution and its input gradient by the kernel for Hopper (framework/cuda/conv_sm90.cu): `None` where it does not apply.
//!
//! It serves the sizes of a ResNet on 32 x 32 images, where it was measured to be faster than cuDNN: docs/decisions/0016-convolution.md.

#![allow(unsafe_code)]

use super::kernels::is_aligned;
use crate::engine::cuda::{convolve, gpu};
use crate::shim::is_channels_last;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// For comparisons, and for when something is wrong: with `off` in it libtorch's convolutions serve.
const SWITCH: &str = "FOIL_CONV";

/// The convolution of `xs` with `weight`, without a bias and without autograd.
pub(in crate::nn) fn forward(xs: &Tensor, weight: &Tensor, [stride, padding]: [i64; 2]) -> Option<Tensor> {
    let applies = !xs.requires_grad() && !weight.requires_grad() && [stride, padding] == [1, 1];
    if applies { run(xs, weight, false) } else { None }
}

/// The convolution's input gradient from that with respect to its output.
pub(in crate::nn) fn backward(d_out: &Tensor, weight: &Tensor, [stride, padding]: [i64; 2]) -> Option<Tensor> {
    if [stride, padding] == [1, 1] { run(d_out, weight, true) } else { None }
}

fn run(images: &Tensor, weight: &Tensor, turned: bool) -> Option<Tensor> {
    let fits = images.kind() == Kind::BFloat16
        && images.size4().is_ok_and(|(n, c, h, w)| serves([n, c, h, w], &weight.size()))
        && is_hopper(images.device())
        && weight.device() == images.device()
        && weight.kind() == images.kind()
        && [images, weight].iter().all(|t| is_channels_last(t) && is_aligned(t));
    if !fits {
        return None;
    }
    let out = images.empty_like();
    // # Safety
    // Kinds, sizes, layout and device are checked above; fresh memory is aligned.
    unsafe { convolve(images, weight, &out, turned) }.ok()?;
    Some(out)
}

/// Whether images `[N, C, H, W]` with a weight of this size are among those the kernel is for.
fn serves([n, c, h, w]: [i64; 4], weight: &[i64]) -> bool {
    // At 4 x 4 a batch larger than what all multiprocessors hold at once is better off with cuDNN.
    let most = if w == 4 { 128 } else { i64::MAX };
    [32, 16, 8, 4].contains(&w) && h == w && c == 2048 / w && weight == [c, c, 3, 3] && (1..=most).contains(&n)
}

/// Whether the device has the kernel's instructions, which later devices have not, and nobody said off.
fn is_hopper(device: Device) -> bool {
    static HOPPER: OnceLock<bool> = OnceLock::new();
    let wanted = || std::env::var_os(SWITCH).is_none_or(|value| value != "off");
    match device {
        Device::Cuda(n) => *HOPPER.get_or_init(|| wanted() && gpu(n).is_ok_and(|gpu| gpu.capability == 90)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Noise, name_key};
    use crate::shim::{channels_last, conv_input_gradient};

    const SIDES: [i64; 4] = [32, 16, 8, 4];

    fn normal(name: &str, size: [i64; 4], device: Device) -> Tensor {
        let numbers = Noise::seeded(&[name_key(name)], 1, device).normal(name, &size, Kind::Float);
        channels_last(&numbers.squeeze_dim(0)).unwrap()
    }

    fn images(n: i64, side: i64, device: Device) -> Tensor {
        normal("images", [n, 2048 / side, side, side], device).to_kind(Kind::BFloat16)
    }

    fn weight(side: i64, device: Device) -> Tensor {
        let c = 2048 / side;
        (normal("weight", [c, c, 3, 3], device) * (2.0 / (9 * c) as f64).sqrt()).to_kind(Kind::BFloat16)
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

    // Oracle: libtorch in fp32. Only on a device of capability 9.0; the CPU has no wgmma.
    #[test]
    fn on_hopper_it_is_libtorchs() {
        let device = Device::Cuda(0);
        if crate::engine::devices().cuda == 0 || !is_hopper(device) {
            return;
        }
        for side in SIDES {
            let weight = weight(side, device);
            for n in [128, 5] {
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
                    let off = (found.to_kind(Kind::Float) - &expected).norm() / expected.norm();
                    let off = off.double_value(&[]);
                    assert!(off < 4e-3, "{n} of side {side}: {off:e}");
                }
            }
            assert!(forward(&images(2, side, device).set_requires_grad(true), &weight, [1, 1]).is_none());
            assert!(forward(&images(2, side, device), &weight, [2, 1]).is_none());
        }
    }
}
