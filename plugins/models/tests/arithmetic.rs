//! Every network in every arithmetic: bf16 against fp32, and no layout copies on the way.

use foil::cuda::stand_in::StandIn;
use foil::engine::{EvalPrecision, Network, Precision};
use foil::nn::{Mode, Noise};
use foil::registry::{Build, DataFacts};
use foil::shim::{channels_last, is_channels_last, record};
use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

use foil_models as _;

/// The recorder sees every thread, so that the tests of this file run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

const DIGITS: DataFacts = DataFacts { channels: 1, height: 28, width: 28, classes: 10, train: 2 };
const COLOUR: DataFacts = DataFacts { channels: 3, height: 32, width: 32, classes: 10, train: 2 };

fn network(model: &str, data: DataFacts, precision: Precision) -> Network {
    let component = serde_yaml::from_str(model).unwrap();
    let problems = RefCell::default();
    let cx = Build::new(data, 3, Kind::Float, Device::Cpu, &problems).computing(precision, EvalPrecision::Fp32);
    cx.network("model", &component, data.channels).unwrap()
}

fn images(data: DataFacts, n: i64) -> (Tensor, Noise) {
    let noise = Noise::seeded(&[5], n, Device::Cpu);
    let x = noise.uniform("x", &[data.channels, data.height, data.width], Kind::Float);
    (channels_last(&x).unwrap(), noise)
}

/// d(sum of the first logit)/dx, as attacks get it.
fn gradient(network: &Network, x: &Tensor, noise: &Noise, mode: Mode) -> Tensor {
    let value = |logits: &Tensor| logits.select(1, 0);
    foil::attack::Target::new(network, noise).gradient(x, mode, &value).gradient
}

/// Largest difference over the largest number.
fn off(a: &Tensor, b: &Tensor) -> f64 {
    ((a - b).abs().max() / b.abs().max()).double_value(&[])
}

// Products of bf16 have 8 bits: a relative error of 2^-9 each, which grows with the square root of
// the depth. Measured on these networks: logits 0.004 to 0.02 (x86-64, 2026-11-22, random weights,
// 8 images); signs of the input gradient agree for 0.96 to 0.97 of the pixels in eval mode, and for
// 0.84 of PreAct-ResNet-18's in train mode. PyTorch's autocast finds the same (docs/gpu.md).
#[test]
fn bf16_is_near_fp32_and_its_gradients_point_the_same_way() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (model, data) in [("small_cnn", DIGITS), ("preact_resnet18", COLOUR), ("resnet18", COLOUR)] {
        let (whole, half) = (network(model, data, Precision::Fp32), network(model, data, Precision::Bf16));
        let (x, noise) = images(data, 8);
        {
            let _evaluating = half.evaluating();
            let evaluated = [&half, &whole].map(|network| network.frozen(&x, Mode::Eval, Some(&noise)));
            assert_eq!(evaluated[0], evaluated[1], "{model}: evaluation sees bf16");
        }
        for mode in [Mode::Eval, Mode::Train] {
            let logits = |network: &Network| tch::no_grad(|| network.frozen(&x, mode, Some(&noise)));
            let (a, b) = (logits(&half), logits(&whole));
            assert_eq!(a.kind(), Kind::Float);
            let difference = off(&a, &b);
            assert!(difference > 0.0 && difference < 0.04, "{model} {mode:?}: {difference}");
            let (a, b) = (gradient(&half, &x, &noise, mode), gradient(&whole, &x, &noise, mode));
            assert!(a.kind() == Kind::Float && a.size() == x.size());
            let agree = a.sign().eq_tensor(&b.sign()).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            println!("{model} {mode:?}: logits differ by {difference:.4}, signs agree for {agree:.4}");
            let least = if mode == Mode::Eval { 0.93 } else { 0.75 };
            assert!(agree > least, "{model} {mode:?}: signs agree for {agree}");
        }
    }
}

#[test]
fn in_bf16_parameters_and_their_gradients_are_whole() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let network = network("preact_resnet18", COLOUR, Precision::Bf16);
    let (x, noise) = images(COLOUR, 4);
    let loss = network.differentiable(&x, Mode::Train, Some(&noise)).square().mean(Kind::Float);
    let gradients = network.params().gradients(&loss).unwrap();
    assert_eq!((gradients.0.kind(), gradients.0.numel() as i64), (Kind::Float, network.params().count()));
    for (name, piece) in network.params().named_gradients(&gradients) {
        assert!(piece.abs().max().double_value(&[]) > 0.0, "{name} has no gradient");
    }
    let kinds = network.params().state_dict().into_iter().map(|(_, t)| t.kind());
    assert!(kinds.filter(|kind| *kind != Kind::Int64).all(|kind| kind == Kind::Float));
}

// A copy of an activation into another layout costs more than a convolution on a GPU.
#[test]
fn nothing_is_copied_into_another_layout() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for model in ["preact_resnet18", "resnet18", "{ type: wide_resnet, depth: 10, width: 1 }"] {
        for precision in [Precision::Fp32, Precision::Bf16] {
            let network = network(model, COLOUR, precision);
            let (x, noise) = images(COLOUR, 2);
            for mode in [Mode::Eval, Mode::Train] {
                let _ = gradient(&network, &x, &noise, mode);
                let (found, calls) = record(None, || gradient(&network, &x, &noise, mode)).unwrap();
                assert!(is_channels_last(&found), "{model}: the gradient's strides are {:?}", found.stride());
                let clones = calls.iter().find(|c| c.name == "aten::clone").map_or(0, |c| c.count);
                assert_eq!(clones, 0, "{model} {precision:?} {mode:?}: {clones} tensors were copied\n{calls:?}");
            }
        }
    }
    // The same with images that lie otherwise is noticed.
    let (network, (x, noise)) = (network("resnet18", COLOUR, Precision::Fp32), images(COLOUR, 2));
    let (_, calls) = record(None, || gradient(&network, &x.contiguous(), &noise, Mode::Eval)).unwrap();
    assert!(calls.iter().any(|c| c.name == "aten::clone"), "{calls:?}");
}

// SAFETY: These are the kernels of framework/cuda/kernels.cu, and take memory of the CPU.
#[allow(unsafe_code)]
const KERNELS_ON_CPU: StandIn = unsafe { StandIn::new(foil_host_kernels::launch) };

// SAFETY: The convolutions do what Hopper's do, on memory of the CPU.
#[allow(unsafe_code)]
const HOPPER_ON_CPU: StandIn = unsafe { KERNELS_ON_CPU.with_convolutions(foil_host_kernels::convolve) };

/// The same network in float64.
fn in_double(network: &Network, model: &str, data: DataFacts) -> Network {
    let component = serde_yaml::from_str(model).unwrap();
    let problems = RefCell::default();
    let cx = Build::new(data, 3, Kind::Double, Device::Cpu, &problems);
    let double = cx.network("model", &component, data.channels).unwrap();
    let numbers = network.params().state_dict().into_iter().filter(|(name, _)| !name.ends_with("tracked"));
    double.params().load(&numbers.collect()).unwrap();
    double
}

// The whole of what an attack on a GPU asks of the kernels, from their source, on the CPU. Here
// they are 5e-7 (eval) and 6e-6 (train) of the gradient from float64; a ReLU that rounding shuts
// can move it by a hundredth, as it does libtorch's fp32 for PreAct-ResNet-18 in train mode. In
// bf16 they are about as near to fp32 as libtorch is; biases are added to what is rounded already,
// as libtorch does on CUDA.
#[test]
fn gradients_by_the_kernels_are_those_of_float64() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let wide = "{ type: wide_resnet, depth: 10, width: 1 }";
    for (model, data) in [("preact_resnet18", COLOUR), ("resnet18", COLOUR), (wide, COLOUR), ("small_cnn", DIGITS)] {
        for mode in [Mode::Eval, Mode::Train] {
            let (x, noise) = images(data, 1);
            let far = |a: &Tensor, b: &Tensor| ((a - b).norm() / b.norm()).double_value(&[]);
            let ours = network(model, data, Precision::Fp32);
            let double = in_double(&ours, model, data);
            let exact = gradient(&double, &x.to_kind(Kind::Double), &noise, mode);
            let found = KERNELS_ON_CPU.during(|| gradient(&ours, &x, &noise, mode));
            let whole = far(&found, &exact);
            assert!(whole < 2e-2, "{model} {mode:?}: {whole:e}");
            for ((name, a), (_, b)) in ours.params().state_dict().iter().zip(double.params().state_dict()) {
                let by = (a - &b).abs().max().double_value(&[]) / (1.0 + b.abs().max().double_value(&[]));
                assert!(by < 1e-5, "{model} {mode:?}: {name} by {by:e}");
            }
            let half = || gradient(&network(model, data, Precision::Bf16), &x, &noise, mode);
            let [theirs, ours] = [half(), KERNELS_ON_CPU.during(half)].map(|half| far(&half, &exact));
            println!("{model} {mode:?}: fp32 {whole:.1e}; bf16: libtorch {theirs:.2}, kernels {ours:.2}");
            assert!(ours < theirs * 1.2 + 0.05, "{model} {mode:?}: bf16 is {ours} away, libtorch's {theirs}");
        }
    }
    let launched = foil_host_kernels::counts();
    for kernel in [
        "add_affine_relu_bf16",
        "join_relu_bf16",
        "batch_statistics_f32",
        "first_conv_bf16",
        "first_conv_backward_bf16",
        "first_conv_gray_f32",
        "transpose_f32",
    ] {
        assert!(launched.contains_key(kernel), "{launched:?}");
    }
}

/// d(mean square of the logits)/d(every parameter), flat, of a training step in train mode.
fn descent(network: &Network, x: &Tensor, noise: &Noise) -> Tensor {
    network.start_step();
    let logits = network.differentiable(x, Mode::Train, Some(noise));
    network.params().gradients(&logits.square().mean(Kind::Double)).unwrap().0
}

// What the update of a training step on a GPU asks of the kernels, likewise.
#[test]
fn parameters_gradients_by_the_kernels_are_those_of_float64() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for model in ["preact_resnet18", "resnet18", "{ type: wide_resnet, depth: 10, width: 1 }"] {
        let (x, noise) = images(COLOUR, 2);
        let far = |a: &Tensor, b: &Tensor| ((a - b).norm() / b.norm()).double_value(&[]);
        let ours = network(model, COLOUR, Precision::Fp32);
        let double = in_double(&ours, model, COLOUR);
        let exact = descent(&double, &x.to_kind(Kind::Double), &noise);
        let (found, calls) = record(None, || KERNELS_ON_CPU.during(|| descent(&ours, &x, &noise))).unwrap();
        let of_autograd =
            ["aten::native_batch_norm", "aten::native_batch_norm_backward", "aten::threshold_backward", "aten::add"];
        for name in of_autograd {
            // The shortcuts' convolutions give a second gradient to what enters them.
            let most = if name == "aten::add" { 3 } else { 0 };
            let count = calls.iter().find(|call| call.name == name).map_or(0, |call| call.count);
            assert!(count <= most, "{model}: {name} {count} times");
        }
        let fp32 = far(&found, &exact);
        for ((name, a), (_, b)) in ours.params().state_dict().iter().zip(double.params().state_dict()) {
            let by = (a - &b).abs().max().double_value(&[]) / (1.0 + b.abs().max().double_value(&[]));
            assert!(by < 1e-5, "{model}: {name} by {by:e}");
        }
        let theirs = far(&descent(&network(model, COLOUR, Precision::Fp32), &x, &noise), &exact);
        let half = || descent(&network(model, COLOUR, Precision::Bf16), &x, &noise);
        let halves = [half(), KERNELS_ON_CPU.during(half)];
        assert!(halves.iter().all(|half| half.kind() == Kind::Float));
        let [half_theirs, half_ours] = halves.map(|half| far(&half, &exact));
        println!(
            "{model}: fp32: libtorch {theirs:.1e}, kernels {fp32:.1e}; bf16: libtorch {half_theirs:.2}, kernels {half_ours:.2}"
        );
        assert!(fp32 < 2e-2, "{model}: {fp32:e}");
        assert!(half_ours < half_theirs * 1.2 + 0.02, "{model}: bf16 is {half_ours} away, libtorch's {half_theirs}");
    }
}

// The whole network where Hopper's convolutions take part in its batch norms, as bf16 has it: about
// as near to fp32 as libtorch is.
#[test]
fn gradients_by_hoppers_convolutions_are_as_near_as_libtorchs() {
    type Work = fn(&Network, &Tensor, &Noise) -> Tensor;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let works: [(&str, Work); 3] = [
        ("eval", |network, x, noise| gradient(network, x, noise, Mode::Eval)),
        ("train", |network, x, noise| gradient(network, x, noise, Mode::Train)),
        ("update", descent),
    ];
    let (x, noise) = images(COLOUR, 8); // whole groups of pixels everywhere
    for (what, work) in works {
        let run = |precision| work(&network("preact_resnet18", COLOUR, precision), &x, &noise);
        let exact = run(Precision::Fp32);
        let far = |found: Tensor| ((found - &exact).norm() / exact.norm()).double_value(&[]);
        let theirs = far(run(Precision::Bf16));
        let ours = far(HOPPER_ON_CPU.during(|| run(Precision::Bf16)));
        println!("{what}: libtorch {theirs:.2}, Hopper's {ours:.2}");
        assert!(ours > 0.0 && ours < theirs * 1.2 + 0.02, "{what}: {ours} away, libtorch's bf16 {theirs}");
    }
}

/// Milliseconds that this thread has spent on a processor.
fn on_processor() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

/// `cargo test --release -p foil-models --test arithmetic -- --ignored --nocapture`: how long a
/// gradient takes without autograd and with it, in turn, on 16 images and one thread, in time on
/// the processor, which others on the machine change less.
#[test]
#[ignore = "a measurement"]
fn time_of_the_input_gradient() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    tch::set_num_threads(1);
    for (precision, mode) in
        [(Precision::Fp32, Mode::Eval), (Precision::Fp32, Mode::Train), (Precision::Bf16, Mode::Eval)]
    {
        let network = network("preact_resnet18", COLOUR, precision);
        let (x, noise) = images(COLOUR, 16);
        let by_autograd = || {
            let x = x.detach().set_requires_grad(true);
            let value = network.frozen(&x, mode, Some(&noise)).select(1, 0).sum(Kind::Float);
            Tensor::run_backward(&[value], &[&x], false, false).remove(0)
        };
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..7 {
            for (way, times) in times.iter_mut().enumerate() {
                let start = on_processor();
                drop(if way == 0 { gradient(&network, &x, &noise, mode) } else { by_autograd() });
                times.push(on_processor() - start);
            }
        }
        let [own, autograd] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            [times[0], times[times.len() / 2]]
        });
        println!("{precision:?} {mode:?}: own {own:.0?} ms, autograd {autograd:.0?} ms (shortest, median of 7)");
    }
}
