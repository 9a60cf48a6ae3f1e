//! Batch norm with what follows it.

use super::*;

pub(super) fn activations(on: On) {
    for (shape, held) in SHAPES.iter().flat_map(|shape| KINDS.map(|kind| (*shape, kind))) {
        for mode in [Mode::Eval, Mode::Train] {
            let work = |pass: &Pass, [bn, _]: &[BatchNorm2d; 2], to: Held| {
                let [x, g, other] = ["x", "g", "other"].map(|name| images(name, shape, held, to));
                let activated = bn.norm_relu(pass, &x);
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

pub(super) fn sums(on: On) {
    let small = SHAPES.iter().flat_map(|shape| KINDS.map(|kind| (*shape, kind)));
    for (shape, held) in small.chain(KINDS.map(|kind| (TALL, kind))) {
        for mode in [Mode::Eval, Mode::Train] {
            let [x, y] = ["x", "y"].map(|name| images(name, shape, held, (held, Device::Cpu)));
            let stored = &x + &y;
            let work = |pass: &Pass, [bn, _]: &[BatchNorm2d; 2], to: Held| {
                // In float64 the sum as it is stored in `held`.
                let [x, y, g] = ["x", "y", "g"].map(|name| images(name, shape, held, to));
                let (sum, activated) = match to.0 {
                    Kind::Double => (stored.to_kind(to.0), bn.norm_relu(pass, &stored.to_kind(to.0))),
                    _ => bn.add_norm_relu(pass, &x, &y),
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

pub(super) fn joins(on: On) {
    for (shape, held) in SHAPES.iter().flat_map(|shape| KINDS.map(|kind| (*shape, kind))) {
        for (mode, same) in [(Mode::Eval, true), (Mode::Eval, false), (Mode::Train, true), (Mode::Train, false)] {
            let work = |pass: &Pass, [bn, other]: &[BatchNorm2d; 2], to: Held| {
                let [x, y, g, r] = ["x", "y", "g", "r"].map(|name| images(name, shape, held, to));
                let shortcut = if same { Shortcut::Identity(&y) } else { Shortcut::Projection(other, &y) };
                let joined = bn.norm_add_relu(pass, &x, shortcut);
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
pub(super) fn with_autograd(on: On) {
    type Work = fn(&Pass, &[BatchNorm2d; 2], &[Tensor; 2]) -> Vec<Tensor>;
    let cases: [(&str, Work); 5] = [
        ("one", |pass, [a, _], [x, _]| vec![a.norm_relu(pass, x).out]),
        ("sum", |pass, [a, _], [x, y]| {
            let (sum, activated) = a.add_norm_relu(pass, x, y);
            vec![activated.out, sum]
        }),
        ("sum, its activation unused", |pass, [a, _], [x, y]| vec![a.add_norm_relu(pass, x, y).0]),
        ("join", |pass, [a, _], [x, y]| vec![a.norm_add_relu(pass, x, Shortcut::Identity(y)).out]),
        ("join of two", |pass, [a, b], [x, y]| vec![a.norm_add_relu(pass, x, Shortcut::Projection(b, y)).out]),
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
                    wanted.extend(params.drain_grad_views());
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

// A mean a thousand deviations away, and a first row far off: what plain sums of squares lose all
// digits on.
pub(super) fn statistics_of_large_means(on: On) {
    let shape = [4, 16, 40, 33];
    for (far, outlier) in [(100.0, 0.0), (-3.0, 1e3), (0.0, 0.0)] {
        let x = images("far", shape, Kind::Double, (Kind::Double, Device::Cpu)) * 0.1 + far;
        let _ = x.get(0).narrow(1, 0, 1).narrow(2, 0, 1).fill_(far + outlier);
        let x = x.to_kind(Kind::Float);
        let work = |pass: &Pass, [bn, _]: &[BatchNorm2d; 2], to: Held| {
            let activated = bn.norm_relu(pass, &x.to_kind(to.0).to_device(to.1));
            [activated.input_gradient(images("g", shape, Kind::Float, to), None), activated.out]
        };
        let [(found, params), (expected, exact)] = both(on, shape[1], Mode::Train, work, Kind::Float);
        for ((name, a), (_, b)) in params.state_dict().iter().zip(exact.state_dict()) {
            assert_near(&format!("{name} at {far}"), &a.to_kind(Kind::Float), &b);
        }
        // fp32 holds a mean of 100 to 4e-6, which is 4e-5 of a deviation of 0.1; PyTorch's own
        // loses as much.
        let loss = if far == 100.0 { 2e-4 } else { 1e-5 };
        for (found, expected) in found.iter().zip(&expected) {
            let off = ((found.to_device(Device::Cpu) - expected).abs().max() / expected.abs().max()).double_value(&[]);
            assert!(off < loss, "at {far}, {outlier}: {off:e}");
        }
    }
}

// Oracle: autograd in float64.
pub(super) fn parameters(on: On) {
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
                    let (_, factors) = batch_statistics(&x, None, [&weight, &bias], running.each_ref(), [0.1, 1e-5])?;
                    batch_norm_backward(&g, &x, &factors, has_relu, None, true)
                })
                .unwrap();
            let [x, g, weight, bias] = [&x, &g, &weight, &bias].map(|t| t.to_device(Device::Cpu).to_kind(Kind::Double));
            let [x, weight, bias] = [x, weight, bias].map(|t| t.set_requires_grad(true));
            let (out, ..) = x.native_batch_norm(Some(&weight), Some(&bias), None, None, true, 0.1, 1e-5);
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

pub(super) fn folded_norms(on: On) {
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
