//! Every kernel of framework/cuda/kernels.cu, run on the CPU from its source, and on a GPU where
//! there is one, against the plain forms in float64.

mod layers;
mod norms;
mod partial_sums;
mod steps;
mod twice;

use super::*;
use crate::cuda::stand_in::StandIn;
use crate::nn::{BatchNorm2d, Builder, ConvInput, Mode, Noise, Parameters, Pass, Shortcut, name_key};
use crate::shim::channels_last;
use std::collections::{BTreeMap, BTreeSet};
use tch::{Device, Kind, Tensor};

/// Where kernels run.
#[derive(Debug, Clone, Copy)]
enum On {
    Cpu,
    Gpu,
}

impl On {
    fn device(self) -> Device {
        match self {
            On::Cpu => Device::Cpu,
            On::Gpu => Device::Cuda(0),
        }
    }

    fn during<T>(self, work: impl FnOnce() -> T) -> T {
        match self {
            On::Cpu => ON_CPU.during(work),
            On::Gpu => work(),
        }
    }
}

/// Runs `work` where Hopper's convolutions are: on such a GPU if there is one, and on the CPU,
/// where plain loops compute what they promise. Its second argument is the batch sizes to try.
pub(in crate::nn) fn where_hopper_is(work: impl Fn(Device, &[i64])) {
    HOPPER_ON_CPU.during(|| work(Device::Cpu, &[8, 5]));
    if crate::engine::devices().cuda > 0 && crate::cuda::conv::is_hopper(Device::Cuda(0)) {
        work(Device::Cuda(0), &[128, 24, 5]);
    }
}

/// What a tensor is in and where, as libtorch's own functions take it.
type Held = (Kind, Device);

// SAFETY: The kernels are those, and take memory of the CPU.
#[allow(unsafe_code)]
const ON_CPU: StandIn = unsafe { StandIn::new(foil_host_kernels::launch) };
// SAFETY: The convolutions do what those of framework/cuda/conv.cpp do, on memory of the CPU.
#[allow(unsafe_code)]
const HOPPER_ON_CPU: StandIn = unsafe { ON_CPU.with_convolutions(foil_host_kernels::convolve) };

/// N, C, H, W: odd sizes, channels in groups of eight that are and are not a power of two.
const SHAPES: [[i64; 4]; 4] = [[3, 8, 5, 7], [2, 24, 3, 5], [5, 64, 9, 11], [3, 160, 1, 2]];
/// With more rows to a thread than it asks for at once.
const TALL: [i64; 4] = [33, 64, 33, 32];
const KINDS: [Kind; 2] = [Kind::BFloat16, Kind::Float];

/// Normal numbers that depend on the name alone, as `kind` holds them.
fn normal(name: &str, size: &[i64], kind: Kind) -> Tensor {
    drawn(name, size, Device::Cpu).to_kind(kind)
}

/// The same in fp32, drawn on `device`.
pub(in crate::nn) fn drawn(name: &str, size: &[i64], device: Device) -> Tensor {
    let numbers = Noise::seeded(&[name_key(name)], 1, device).normal(name, size, Kind::Float).squeeze_dim(0);
    if size.len() == 4 { channels_last(&numbers).unwrap() } else { numbers }
}

/// The length of the difference, over that of what is expected.
pub(in crate::nn) fn off(found: &Tensor, expected: &Tensor) -> f64 {
    let [a, b] = [found, expected].map(|t| t.to_kind(Kind::Double));
    ((a - &b).norm() / b.norm()).double_value(&[])
}

/// Two batch norms with random numbers of `kind`.
fn norms(channels: i64, (kind, device): Held) -> (Parameters, [BatchNorm2d; 2]) {
    let nn = Builder::default();
    let norms = ["a", "b"].map(|name| BatchNorm2d::new(&nn, name, channels));
    let params = nn.finish(None, kind, device);
    let random = |(name, t): (String, Tensor)| {
        let values = normal(&name, &t.size(), Kind::Double);
        let values = if name.ends_with("var") { values.square() + 0.1 } else { values };
        (name, values.to_kind(Kind::Float))
    };
    let named = params.state_dict().into_iter().filter(|(name, _)| !name.ends_with("tracked")).map(random);
    params.load(&named.collect::<BTreeMap<_, _>>()).unwrap();
    (params, norms)
}

/// What `work` finds by the kernels, on images of `kind`, and by the plain forms in float64.
fn both<T>(
    on: On,
    channels: i64,
    mode: Mode,
    work: impl Fn(&Pass, &[BatchNorm2d; 2], Held) -> T,
    kind: Kind,
) -> [(T, Parameters); 2] {
    let (params, norms_) = norms(channels, (Kind::Float, on.device()));
    let found = on.during(|| work(&params.pass(mode, false, false, 0, None), &norms_, (kind, on.device())));
    let exact = (Kind::Double, Device::Cpu);
    let (exact_params, norms_) = norms(channels, exact);
    let expected = work(&exact_params.pass(mode, false, false, 0, None), &norms_, exact);
    [(found, params), (expected, exact_params)]
}

/// As near as one rounding of bf16, or some of fp32.
#[track_caller]
fn assert_near(what: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let tolerance = if found.kind() == Kind::BFloat16 { 1.0 / 256.0 } else { 2e-5 };
    let [a, b] = [found, expected].map(|t| t.to_device(Device::Cpu).to_kind(Kind::Double));
    // Rounding is relative to each number, sums' errors to the largest.
    let off: Tensor = (&a - &b).abs() / (b.abs() + 0.01 * b.abs().max() + 1e-30);
    let most = off.max().double_value(&[]);
    assert!(most < tolerance, "{what}: {:?} {:?} differs by {most:e}", found.kind(), found.size());
}

/// Images rounded to `stored`, as `(kind, device)` holds them.
fn images(name: &str, shape: [i64; 4], stored: Kind, (kind, device): Held) -> Tensor {
    normal(name, &shape, stored).to_kind(kind).to_device(device)
}

// One that did not would read what the kernel in front has not written yet
// (framework/cuda/in_turn.h), and only now and then.
#[test]
fn every_kernel_waits_for_its_turn() {
    let kernels = include_str!("../../../cuda/kernels.cu").split("__global__ void ").skip(1);
    for kernel in kernels {
        let (head, body) = kernel.split_once('{').unwrap();
        assert!(body.trim_start().starts_with("in_turn();"), "{head}");
    }
}

// One test, so that the last line can tell which kernels none of them launched.
#[test]
fn every_kernel_is_its_plain_form() {
    let gpu = (crate::engine::devices().cuda > 0).then_some(On::Gpu);
    for on in [Some(On::Cpu), gpu].into_iter().flatten() {
        println!("kernels on {:?}", on.device());
        norms::activations(on);
        norms::sums(on);
        norms::joins(on);
        partial_sums::sums_of_groups(on);
        partial_sums::gradients_begun_behind(on);
        norms::with_autograd(on);
        norms::statistics_of_large_means(on);
        norms::parameters(on);
        layers::first_convolutions(on);
        layers::convolutions_in_fewer_products(on);
        layers::flat_images(on);
        steps::steps(on);
        layers::both_ends(on);
        steps::logit_grads(on);
        steps::terms_of_losses(on);
        steps::noises(on);
        steps::batches(on);
        norms::folded_norms(on);
        steps::gathered_grads(on);
    }
    assert_eq!(foil_host_kernels::counts().into_keys().collect::<BTreeSet<_>>(), foil_host_kernels::names());
}
