//! Every kernel of framework/cuda/kernels.cu, run on the CPU from its source, and on a GPU where there is one, against the plain forms in float64.

use super::conv::Groups;
use super::*;
use crate::engine::cuda::stand_in::StandIn;
use crate::nn::{Builder, Parameters, name_key};
use crate::shim::channels_last;
use std::collections::BTreeMap;
use tch::Device;

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

/// What a tensor is in and where, as libtorch's own functions take it.
type Held = (Kind, Device);

// # Safety
// The kernels are those, and take memory of the CPU.
#[allow(unsafe_code)]
const ON_CPU: StandIn = unsafe { StandIn::new(foil_host_kernels::launch) };

/// N, C, H, W: odd sizes, channels in groups of eight that are and are not a power of two.
const SHAPES: [[i64; 4]; 4] = [[3, 8, 5, 7], [2, 24, 3, 5], [5, 64, 9, 11], [3, 160, 1, 2]];
/// With more rows to a thread than it asks for at once.
const TALL: [i64; 4] = [33, 64, 33, 32];
const KINDS: [Kind; 2] = [Kind::BFloat16, Kind::Float];

/// Normal numbers that depend on the name alone, as `kind` holds them.
fn normal(name: &str, size: &[i64], kind: Kind) -> Tensor {
    let noise = crate::nn::Noise::seeded(&[name_key(name)], 1, Device::Cpu);
    let numbers = noise.normal(name, size, Kind::Float).squeeze_dim(0);
    let numbers = if size.len() == 4 { channels_last(&numbers).unwrap() } else { numbers };
    numbers.to_kind(kind)
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

fn activations(on: On) {
    for (shape, held) in SHAPES.iter().flat_map(|shape| KINDS.map(|kind| (*shape, kind))) {
        for mode in [Mode::Eval, Mode::Train] {
            let work = |pass: &Pass, [bn, _]: &[BatchNorm2d; 2], to: Held| {
                let [x, g, other] = ["x", "g", "other"].map(|name| images(name, shape, held, to));
                let activated = bn.activate(pass, &x);
                let dx = activated.input_gradient(g.copy(), None);
                let dx_and = activated.input_gradient(g.copy(), Some(&other));
                let flat = activated.input_gradient(g.narrow(2, 0, 1).narrow(3, 0, 1).expand(shape, false), None);
                [activated.out, dx, dx_and, flat]
            };
            let [(found, params), (expected, exact)] = both(on, shape[1], mode, work, held);
            for (i, what) in ["out", "dx", "dx + other", "dx of a mean"].iter().enumerate() {
                assert!(crate::shim::is_channels_last(&found[i]));
                assert_near(&format!("{what} {mode:?}"), &found[i], &expected[i]);
            }
            for ((name, a), (_, b)) in params.state_dict().iter().zip(exact.state_dict()) {
                assert_near(&format!("{name} {mode:?}"), &a.to_kind(Kind::Float), &b);
            }
        }
    }
}

fn sums(on: On) {
    let small = SHAPES.iter().flat_map(|shape| KINDS.map(|kind| (*shape, kind)));
    for (shape, held) in small.chain(KINDS.map(|kind| (TALL, kind))) {
        for mode in [Mode::Eval, Mode::Train] {
            let [x, y] = ["x", "y"].map(|name| images(name, shape, held, (held, Device::Cpu)));
            let stored = &x + &y;
            let work = |pass: &Pass, [bn, _]: &[BatchNorm2d; 2], to: Held| {
                // In float64 the sum as it is stored in `held`.
                let [x, y, g] = ["x", "y", "g"].map(|name| images(name, shape, held, to));
                let (sum, activated) = match to.0 {
                    Kind::Double => (stored.to_kind(to.0), bn.activate(pass, &stored.to_kind(to.0))),
                    _ => bn.activate_sum(pass, &x, &y),
                };
                let dx = activated.input_gradient(g, None);
                [sum, activated.out, dx]
            };
            let [(found, params), (expected, exact)] = both(on, shape[1], mode, work, held);
            assert!(found[0].to_device(Device::Cpu) == stored, "sum {mode:?} {shape:?} {held:?}");
            assert_near(&format!("out of a sum {mode:?}"), &found[1], &expected[1]);
            assert_near(&format!("dx of a sum {mode:?}"), &found[2], &expected[2]);
            for ((name, a), (_, b)) in params.state_dict().iter().zip(exact.state_dict()) {
                assert_near(&format!("{name} {mode:?}"), &a.to_kind(Kind::Float), &b);
            }
        }
    }
}

fn joins(on: On) {
    for (shape, held) in SHAPES.iter().flat_map(|shape| KINDS.map(|kind| (*shape, kind))) {
        for (mode, same) in [(Mode::Eval, true), (Mode::Eval, false), (Mode::Train, true), (Mode::Train, false)] {
            let work = |pass: &Pass, [bn, other]: &[BatchNorm2d; 2], to: Held| {
                let [x, y, g, r] = ["x", "y", "g", "r"].map(|name| images(name, shape, held, to));
                let shortcut = if same { Shortcut::Same(&y) } else { Shortcut::Normed(other, &y) };
                let joined = bn.join(pass, &x, shortcut);
                let [dx, dy] = joined.input_gradients(&g, None);
                // Between the kernels of train mode the masked gradient is stored.
                let [dx_and, dy_and] = match (to.0, mode) {
                    (Kind::Double, Mode::Train) => {
                        let stored = images("g", shape, held, (held, to.1)) + images("r", shape, held, (held, to.1));
                        joined.input_gradients(&stored.to_kind(to.0), None)
                    }
                    _ => joined.input_gradients(&g, Some(&r)),
                };
                [joined.out, dx, dy, dx_and, dy_and]
            };
            let [(found, _), (expected, _)] = both(on, shape[1], mode, work, held);
            for (i, what) in ["out", "dx", "dy", "dx of two", "dy of two"].iter().enumerate() {
                assert_near(&format!("join, {what} {mode:?} {same}"), &found[i], &expected[i]);
            }
        }
    }
}

// Oracle: autograd through libtorch's batch norm in float64.
fn watched(on: On) {
    type Work = fn(&Pass, &[BatchNorm2d; 2], &[Tensor; 2]) -> Vec<Tensor>;
    let cases: [(&str, Work); 5] = [
        ("one", |pass, [a, _], [x, _]| vec![a.activate(pass, x).out]),
        ("sum", |pass, [a, _], [x, y]| {
            let (sum, activated) = a.activate_sum(pass, x, y);
            vec![activated.out, sum]
        }),
        ("sum, its activation unused", |pass, [a, _], [x, y]| vec![a.activate_sum(pass, x, y).0]),
        ("join", |pass, [a, _], [x, y]| vec![a.join(pass, x, Shortcut::Same(y)).out]),
        ("join of two", |pass, [a, b], [x, y]| vec![a.join(pass, x, Shortcut::Normed(b, y)).out]),
    ];
    for (shape, held) in SHAPES.iter().flat_map(|shape| KINDS.map(|kind| (*shape, kind))) {
        // Eval mode is left to libtorch, which rounds more often than once.
        let modes = if held == Kind::Float { &[Mode::Train, Mode::Eval][..] } else { &[Mode::Train] };
        for ((case, work), &mode) in cases.iter().flat_map(|case| modes.iter().map(move |mode| (case, mode))) {
            let run = |on: Option<On>| {
                let to = on.map_or((Kind::Double, Device::Cpu), |on| (held, on.device()));
                let (params, norms) = norms(shape[1], (if on.is_some() { Kind::Float } else { to.0 }, to.1));
                let gradients = || {
                    // The sum of x and y is a number of `held`.
                    let both = [(); 2].map(|()| images("x", shape, held, to).set_requires_grad(true));
                    let outputs = work(&params.pass(mode, true, false, 0, None), &norms, &both);
                    let named = outputs.iter().zip(["g", "r"]);
                    let value: Tensor =
                        named.map(|(out, g)| (out * images(g, shape, held, to)).sum(Kind::Double)).sum();
                    let mut wanted: Vec<&Tensor> = both.iter().collect();
                    wanted.extend(params.leaves());
                    let found = Tensor::run_backward(&[value], &wanted, false, false);
                    outputs.iter().map(Tensor::detach).chain(found).collect::<Vec<_>>()
                };
                let found = match on {
                    Some(on) => on.during(gradients),
                    None => gradients(),
                };
                (found, params)
            };
            let [(found, params), (expected, exact)] = [run(Some(on)), run(None)];
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(found.defined(), expected.defined(), "{case} {mode:?}: {i}");
                if found.defined() {
                    assert_near(&format!("{case}, {i} {mode:?}"), found, expected);
                }
            }
            for ((name, a), (_, b)) in params.state_dict().iter().zip(exact.state_dict()) {
                assert_near(&format!("{name} {mode:?}"), &a.to_kind(Kind::Float), &b);
            }
        }
    }
}

// Oracle: the kernels that read all rows. Groups are what a convolution's kernel would find.
fn sums_of_groups(on: On) {
    for (shape, rows) in [([4, 64, 8, 16], 64), ([3, 24, 4, 12], 16), ([8, 512, 4, 4], 64)] {
        let (params, [bn, _]) = norms(shape[1], (Kind::Float, on.device()));
        let pass = params.pass(Mode::Train, false, false, 0, None);
        let learned = bn.learned(&pass);
        let running = || [bn.mean, bn.var].map(|id| pass.buffer(id).copy());
        let [x, g, other] =
            ["x", "g", "other"].map(|name| images(name, shape, Kind::BFloat16, (Kind::BFloat16, on.device())));
        let x = x + 3;
        let by_group = |t: &Tensor| t.to_kind(Kind::Float).permute([0, 2, 3, 1]).reshape([-1, rows, shape[1]]);
        let found = |a: Tensor, b: Tensor| Groups { found: Tensor::stack(&[a, b], -1).contiguous(), rows };
        let (by_all, by_groups) = (running(), running());
        let (_, expected) = on.during(|| batch::statistics(&x, None, learned, by_all.each_ref(), 0.1)).unwrap();

        let (xs, gs) = (by_group(&x), by_group(&g));
        let means = xs.mean_dim(1, true, Kind::Float);
        let moments = found(means.squeeze_dim(1), (&xs - &means).square().sum_dim_intlist(1, false, Kind::Float));
        let factors = on.during(|| batch::statistics_of(&moments, learned, by_groups.each_ref(), 0.1)).unwrap();
        for (of, expected) in [Factors::scale, Factors::shift, Factors::mean, Factors::inverse_std]
            .map(|number| (number(&factors), number(&expected)))
            .iter()
            .chain(&by_groups.into_iter().zip(by_all).collect::<Vec<_>>())
        {
            assert_near("statistics of groups", of, expected);
        }

        let open = gs * (&xs * expected.scale() + expected.shift()).gt(0.0);
        let slopes = found(
            open.sum_dim_intlist(1, false, Kind::Float),
            (&open * (&xs - expected.mean())).sum_dim_intlist(1, false, Kind::Float),
        );
        let (all, _) = on.during(|| batch::backward(&g, &x, &expected, true, Some(&other), false)).unwrap();
        let dx = on.during(|| batch::backward_of(&slopes, &g, &x, &expected, Some(&other))).unwrap();
        assert_near("gradient by groups", &dx, &all);
    }
}

// A mean a thousand deviations away, and a first row far off: what plain sums of squares lose all digits on.
fn statistics_of_large_means(on: On) {
    let shape = [4, 16, 40, 33];
    for (far, outlier) in [(100.0, 0.0), (-3.0, 1e3), (0.0, 0.0)] {
        let x = images("far", shape, Kind::Double, (Kind::Double, Device::Cpu)) * 0.1 + far;
        let _ = x.get(0).narrow(1, 0, 1).narrow(2, 0, 1).fill_(far + outlier);
        let x = x.to_kind(Kind::Float);
        let work = |pass: &Pass, [bn, _]: &[BatchNorm2d; 2], to: Held| {
            let activated = bn.activate(pass, &x.to_kind(to.0).to_device(to.1));
            [activated.input_gradient(images("g", shape, Kind::Float, to), None), activated.out]
        };
        let [(found, params), (expected, exact)] = both(on, shape[1], Mode::Train, work, Kind::Float);
        for ((name, a), (_, b)) in params.state_dict().iter().zip(exact.state_dict()) {
            assert_near(&format!("{name} at {far}"), &a.to_kind(Kind::Float), &b);
        }
        // fp32 holds a mean of 100 to 4e-6, which is 4e-5 of a deviation of 0.1; PyTorch's own loses as much.
        let loss = if far == 100.0 { 2e-4 } else { 1e-5 };
        for (found, expected) in found.iter().zip(&expected) {
            let off = ((found.to_device(Device::Cpu) - expected).abs().max() / expected.abs().max()).double_value(&[]);
            assert!(off < loss, "at {far}, {outlier}: {off:e}");
        }
    }
}

// Oracle: autograd in float64.
fn parameters(on: On) {
    for (shape, held) in SHAPES.iter().flat_map(|shape| KINDS.map(|kind| (*shape, kind))) {
        let c = [shape[1]];
        let [x, g, weight, bias] =
            [("x", &shape[..]), ("g", &shape), ("a.weight", &c), ("a.bias", &c)].map(|(name, size)| {
                let kind = if size.len() == 4 { held } else { Kind::Float };
                normal(name, size, kind).to_device(on.device())
            });
        let running = [Tensor::zeros(c, (Kind::Float, on.device())), Tensor::ones(c, (Kind::Float, on.device()))];
        for has_relu in [false, true] {
            let (dx, learned) = on
                .during(|| {
                    let (_, factors) = batch::statistics(&x, None, [&weight, &bias], running.each_ref(), 0.1)?;
                    batch::backward(&g, &x, &factors, has_relu, None, true)
                })
                .unwrap();
            let [x, g, weight, bias] = [&x, &g, &weight, &bias].map(|t| t.to_device(Device::Cpu).to_kind(Kind::Double));
            let [x, weight, bias] = [x, weight, bias].map(|t| t.set_requires_grad(true));
            let (out, ..) = x.native_batch_norm(Some(&weight), Some(&bias), None, None, true, 0.1, EPS);
            let out = if has_relu { out.relu() } else { out };
            let expected = Tensor::run_backward(&[(out * g).sum(Kind::Double)], &[&x, &weight, &bias], false, false);
            for ((what, found), expected) in
                ["dx", "d weight", "d bias"].iter().zip([dx].into_iter().chain(learned.unwrap())).zip(expected)
            {
                assert_near(&format!("{what}, ReLU {has_relu} {shape:?}"), &found, &expected);
            }
        }
    }
}

// Oracle: libtorch's in float64.
fn first_convolutions(on: On) {
    let shapes = [([2, 5, 7], 8), ([2, 32, 32], 64), ([3, 9, 33], 24), ([1, 1, 1], 16), ([70, 11, 3], 8)];
    for (([n, h, w], outputs), c) in shapes.into_iter().flat_map(|shape| [(shape, 3), (shape, 1)]) {
        for (held, weights_last) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            let to = (held, on.device());
            let dy = images("dy", [n, outputs, h, w], held, to);
            let xs = images("xs", [n, c, h, w], held, to);
            let weight = images("weight", [outputs, c, 3, 3], held, to);
            let weight = if weights_last { weight } else { weight.contiguous() };
            let [out, dx] = on.during(|| {
                let out = first_conv(&xs, &weight, [1, 1]).unwrap();
                [out, first_conv_backward(&dy, &xs, &weight, [1, 1]).unwrap()]
            });
            let [dy, xs, weight] = [dy, xs, weight].map(|t| t.to_device(Device::Cpu).to_kind(Kind::Double));
            let expected = xs.conv2d(&weight, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1);
            assert_near(&format!("{outputs} outputs"), &out, &expected);
            let expected = crate::shim::conv_input_gradient(&dy, &xs, &weight, 1, 1).unwrap();
            assert_near(&format!("dx of {outputs} outputs"), &dx, &expected);
            assert!([out, dx].iter().all(crate::shim::is_channels_last));
        }
    }
    let [xs, dy, weight] =
        [[2, 3, 8, 8], [2, 8, 4, 4], [8, 3, 3, 3]].map(|size| normal("x", &size, Kind::Float).to_device(on.device()));
    assert!(on.during(|| first_conv_backward(&dy, &xs, &weight, [2, 1])).is_none());
    assert!(on.during(|| first_conv(&xs, &weight, [2, 1])).is_none());
    // Autograd is libtorch's.
    assert!(on.during(|| first_conv(&xs, &weight.set_requires_grad(true), [1, 1])).is_none());
}

fn flat_images(on: On) {
    for (shape, held) in SHAPES.iter().flat_map(|shape| KINDS.map(|kind| (*shape, kind))) {
        let to = (held, on.device());
        let [xs, bias] = [images("xs", shape, held, to), images("bias", [1, shape[1], 1, 1], held, to).flatten(0, -1)];
        let [out, d, flat, back] = on.during(|| {
            let out = bias_relu(&xs, &bias);
            let d = relu_backward(&xs, &out);
            let flat = flatten(&xs).unwrap();
            let back = unflatten(&flat, &xs).unwrap();
            [out, d, flat, back]
        });
        let [exact, bias] = [&xs, &bias].map(|t| t.to_device(Device::Cpu).to_kind(Kind::Double));
        let expected = (&exact + bias.view([1, -1, 1, 1])).relu();
        assert_near("bias and ReLU", &out, &expected);
        assert_near("the gradient of that", &d, &(exact * expected.gt(0.0)));
        assert!(flat == xs.flatten(1, -1) && back == xs && crate::shim::is_channels_last(&back));
    }
}

fn steps(on: On) {
    for n in [1, 255, 1000] {
        let numbers = |name: &str| normal(name, &[n], Kind::Float).to_device(on.device());
        let [x, g, low, high] = ["x", "g", "low", "high"].map(numbers);
        let (low, high) = (&x - low.abs() * 0.1, &x + high.abs() * 0.1);
        let g = g * numbers("zeros").gt(0.0);
        let alpha = Tensor::from(0.07f64).to_device(on.device());
        let step = || sign_step(&x, &g, &alpha, [&low, &high]);
        assert!((on.during(step) - step()).abs().max().double_value(&[]) < 1e-7);
        // One channel lies in both layouts, whatever its strides say.
        let [one, other] = [x.view([n, 1, 1, 1]), g.view([n, 1, 1, 1]).as_strided([n, 1, 1, 1], [1, 1, 7, 1], None)];
        let [low, high] = [&low, &high].map(|t| t.view([n, 1, 1, 1]));
        assert!(on.during(|| kernels::sign_step(&one, &other, &alpha, [&low, &high])).is_some());

        for nesterov in [false, true] {
            let [v, u] = ["v", "u"].map(numbers);
            let (rate, [momentum, decay]) = (Tensor::from(0.1f64).to_device(on.device()), [0.9, 0.01]);
            let [exact, g64, u64] = [&v, &g, &u].map(|t| t.to_kind(Kind::Double));
            let with_decay = g64 + &exact * decay;
            let velocity = u64 * momentum + &with_decay;
            let down = if nesterov { with_decay + &velocity * momentum } else { velocity.shallow_clone() };
            assert!(on.during(|| sgd([&v, &g, &u], &rate, [momentum, decay], nesterov)));
            assert_near("velocity", &u, &velocity);
            assert_near("values", &v, &(exact - down * 0.1));
        }
    }
}

// Oracle: libtorch's operators, to the bit where a kernel rounds as they do.
fn both_ends(on: On) {
    let (mean, std) = ([0.4f32, 0.5, 0.3], [0.2f32, 0.3, 0.25]);
    let [mean, std] = [mean, std].map(|t| Tensor::from_slice(&t).view([1, 3, 1, 1]).to_device(on.device()));
    for held in KINDS {
        let xs = images("xs", [3, 3, 5, 7], Kind::Float, (Kind::Float, on.device()));
        let found = on.during(|| normalize(&xs, &mean, &std, held)).unwrap();
        assert!(crate::shim::is_channels_last(&found) && found.equal(&((&xs - &mean) / &std).to_kind(held)));
        let gradient = xs.to_kind(Kind::BFloat16);
        let found = on.during(|| normalize_backward(&gradient, &std)).unwrap();
        assert!(found.equal(&(gradient.to_kind(Kind::Float) / &std)));

        for (shape, outputs) in SHAPES.iter().chain([&[2, 2048, 1, 1], &[2, 512, 4, 4]]).zip([10, 1, 100, 7, 33, 10]) {
            let (n, channels) = (shape[0], shape[1]);
            let to = |name: &str, size: &[i64]| normal(name, size, held).to_device(on.device());
            let (xs, weight) = (images("xs", *shape, held, (held, on.device())), to("w", &[outputs, channels]));
            let (bias, d_out) = (to("b", &[outputs]), to("d", &[n, outputs]).to_kind(Kind::Float));
            let logits = on.during(|| mean_linear(&xs, &weight, &bias)).unwrap();
            let back = on.during(|| mean_linear_backward(&d_out, &weight, &xs, None)).unwrap();
            let scale = normal("scale", &[channels], Kind::Float).to_device(on.device());
            let masked = on.during(|| mean_linear_backward(&d_out, &weight, &xs, Some(&scale))).unwrap();
            let exact = |t: &Tensor| t.to_device(Device::Cpu).to_kind(Kind::Double);
            let mean = exact(&xs).mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
            assert_near("logits", &logits, &mean.linear(&exact(&weight), Some(&exact(&bias))));
            let d_mean = exact(&d_out).matmul(&exact(&weight)) / (shape[2] * shape[3]) as f64;
            assert_near("dx of logits", &back, &d_mean.view([n, channels, 1, 1]).expand_as(&xs));
            let expected = d_mean.view([n, channels, 1, 1]) * by_channel(&exact(&scale)) * exact(&xs).gt(0.0);
            assert_near("dx of logits behind a ReLU", &masked, &expected);
        }
    }
}

fn slopes(on: On) {
    use crate::loss::terms;
    for (rows, classes) in [(1, 2), (19, 10), (8, 100), (3, 1000)] {
        let [z, clean] = ["z", "clean"].map(|name| normal(name, &[rows, classes], Kind::Float) * 3.0);
        // Two classes tie, and one of them is a label.
        let _ = z.get(0).narrow(0, 0, 2).fill_(9.0);
        let y = (Tensor::arange(rows, (Kind::Int64, Device::Cpu)) * 7).remainder(classes);
        let of = |[z, clean, y]: [&Tensor; 3]| {
            [
                terms::cross_entropy_slope(z, y),
                terms::kl_slope(clean, z),
                terms::soft_logit_margin_slope(z, y),
                terms::hinged_margin_slope(z, y, 50.0),
                terms::hinged_margin_slope(z, y, 0.0),
                terms::hinged_margin_slope(z, &(y + 2).remainder(classes), 0.5),
            ]
        };
        let [there, clean_there, y_there] = [&z, &clean, &y].map(|t| t.to_device(on.device()));
        let found = on.during(|| of([&there, &clean_there, &y_there]));
        let expected = of([&z.to_kind(Kind::Double), &clean.to_kind(Kind::Double), &y]);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_near(&format!("slope {i} of {classes}"), found, expected);
        }
    }
}

fn noises(on: On) {
    use crate::nn::{Noise, key_of};
    for key in [key_of(&[3, 4]), -5, 1 << 40] {
        let index = Tensor::from_slice(&[3i64, 49_999, 0, 1 << 33]);
        let draw = |device: Device| {
            let noise = Noise::new(&Tensor::from(key).to_device(device), &index.to_device(device));
            let uniform = noise.uniform("u", &[3, 5, 4], Kind::Float);
            [uniform, noise.normal("n", &[7], Kind::Float), noise.below("b", 9, &[1])]
        };
        let found = on.during(|| draw(on.device())).map(|t| t.to_device(Device::Cpu));
        for (i, (found, expected)) in found.iter().zip(draw(Device::Cpu)).enumerate() {
            let same = if i == 1 { found.allclose(&expected, 1e-5, 1e-6, false) } else { found.equal(&expected) };
            assert!(same && found.kind() == expected.kind(), "draw {i} with {key}");
        }
    }
}

fn batches(on: On) {
    use crate::data::{Augment, Padding, Resident};
    let [count, channels, height, width] = [20, 3, 7, 6];
    let pixels = (0..count * channels * height * width).map(|i| (i * 37 % 256) as u8).collect();
    let labels = (0..count as u8).collect();
    let images = foil_data::Images { pixels, labels, channels, height, width };
    let batch = |device: Device, augment: Option<&Augment>| {
        let [key, rows] = [Tensor::from(77i64), Tensor::from_slice(&[19i64, 3, 3, 0, 7])].map(|t| t.to_device(device));
        let data = Resident::new(&images, device);
        data.batch(&rows, Kind::Float, augment.map(|augment| (augment, &key))).0
    };
    let augments = [Padding::Zero, Padding::Reflect]
        .map(|padding| [(4, true), (2, false)].map(|(pad, flip)| Augment { pad, padding, flip }));
    for augment in augments.iter().flatten().map(Some).chain([None]) {
        let found = on.during(|| batch(on.device(), augment));
        assert!(crate::shim::is_channels_last(&found));
        assert_eq!(found.to_device(Device::Cpu), batch(Device::Cpu, augment), "{augment:?}");
    }
}

fn folded_norms(on: On) {
    let (params, norms_) = norms(24, (Kind::Float, on.device()));
    let (exact, exact_norms) = norms(24, (Kind::Double, Device::Cpu));
    let of = |params: &Parameters, norms: &[BatchNorm2d; 2]| {
        let pass = params.pass(Mode::Eval, false, false, 0, None);
        norms.each_ref().map(|bn| pass.affine(bn.id))
    };
    let found = on.during(|| of(&params, &norms_));
    for ((scale, shift), (exact_scale, exact_shift)) in found.iter().zip(&of(&exact, &exact_norms)) {
        assert_near("scale", scale, exact_scale);
        assert_near("shift", shift, exact_shift);
    }
}

fn sums_of_pieces(on: On) {
    let there = |name: &str, size: &[i64], kind| normal(name, size, kind).to_device(on.device());
    let (half, whole) = (Kind::BFloat16, Kind::Float);
    // More than one launch takes, and than one block; sizes and places that are and are not a multiple of eight; one that nothing reaches; one that lies otherwise.
    let size = |i: i64| match i % 6 {
        0 => vec![40, 16, 3, 3],
        3 => vec![8, 16, 3, 3],
        _ => vec![i + 1],
    };
    let sizes: Vec<Vec<i64>> = (0..70).map(size).collect();
    let flat = Tensor::zeros([70 * 5760 + 8], (whole, on.device()));
    let piece = |(i, size): (usize, &Vec<i64>)| {
        let memory = flat.narrow(0, i as i64 * 5760 + i64::from(i > 35), size.iter().product());
        if size.len() == 4 {
            memory.view([size[0], 3, 3, 16]).permute([0, 3, 1, 2])
        } else {
            memory.view(size.as_slice())
        }
    };
    let pieces: Vec<Tensor> = sizes.iter().enumerate().map(piece).collect();
    let from = |(i, size): (usize, &Vec<i64>)| -> Vec<Tensor> {
        let one = |s: usize| there(&format!("{i}.{s}"), size, if (i + s).is_multiple_of(2) { half } else { whole });
        let mut all: Vec<Tensor> = (0..i % 5).map(one).collect();
        if let (4, Some(last)) = (size.len(), all.last_mut()) {
            *last = last.contiguous();
        }
        all
    };
    let from: Vec<Vec<Tensor>> = sizes.iter().enumerate().map(from).collect();
    let given: Vec<_> = pieces.iter().map(Tensor::shallow_clone).zip(from).collect();
    on.during(|| sum_pieces(&given)).unwrap();
    for (piece, from) in &given {
        let exact = |t: &Tensor| t.to_device(Device::Cpu).to_kind(Kind::Double);
        let expected = from.iter().fold(exact(piece).zeros_like(), |sum, t| sum + exact(t));
        assert_near("a sum of pieces", piece, &expected);
    }
    let touched = given.iter().map(|(piece, _)| piece.abs().sum(Kind::Double).double_value(&[])).sum::<f64>();
    assert!((flat.abs().sum(Kind::Double).double_value(&[]) - touched).abs() < 1e-6 * touched);
}

// One that did not would read what the kernel in front has not written yet (framework/cuda/in_turn.h), and only now and then.
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
        activations(on);
        sums(on);
        joins(on);
        sums_of_groups(on);
        watched(on);
        statistics_of_large_means(on);
        parameters(on);
        first_convolutions(on);
        flat_images(on);
        steps(on);
        both_ends(on);
        slopes(on);
        noises(on);
        batches(on);
        folded_norms(on);
        sums_of_pieces(on);
    }
    assert_eq!(foil_host_kernels::launched(), foil_host_kernels::names());
}
