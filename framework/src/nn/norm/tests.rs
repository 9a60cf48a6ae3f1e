//! Statistics of selected images against PyTorch's batch norm on these images alone.

use super::*;
use crate::nn::{Conv2d, Noise, Parameters};
use crate::testing::assert_close;
use proptest::prelude::*;
use tch::{Device, Kind};

const CHANNELS: i64 = 3;

/// A batch norm whose numbers are not those it starts with, in float64.
fn norm(seed: u64) -> (BatchNorm2d, Parameters) {
    let nn = Builder::default();
    let norm = BatchNorm2d::new(&nn, "bn", CHANNELS);
    let params = nn.finish(Some(seed), Kind::Double, Device::Cpu);
    tch::no_grad(|| {
        for (i, (name, tensor)) in
            params.state_dict().into_iter().enumerate().filter(|(_, (_, t))| t.is_floating_point())
        {
            let drawn = Noise::seeded(&[seed, i as u64], CHANNELS, Device::Cpu).uniform("", &[], Kind::Double);
            let floor = if name.ends_with("mean") || name.ends_with("bias") { -0.5 } else { 0.5 };
            tensor.shallow_clone().copy_(&(drawn + floor));
        }
    });
    (norm, params)
}

fn images(seed: u64, shape: [i64; 3]) -> Tensor {
    let [n, h, w] = shape;
    Noise::seeded(&[seed], n, Device::Cpu).normal("x", &[CHANNELS, h, w], Kind::Double) + 3.0
}

/// Output, d/dx, gradients of weight and bias, and the running statistics of `forward`, whose
/// output is summed with weights `to`.
fn run(seed: u64, x: &Tensor, to: &Tensor, selected: Option<&Tensor>) -> Vec<Tensor> {
    let (norm, params) = norm(seed);
    let x = x.copy().set_requires_grad(true);
    params.track(Mode::Train, 1, selected);
    let pass = params.pass(Mode::Train, true, false, 0, None).selecting(selected);
    let out = norm.forward(&pass, &x);
    let value = (&out * to).sum(Kind::Double);
    let (weight, bias) = (pass.param(norm.weight), pass.param(norm.bias));
    let mut found = vec![out.detach()];
    found.extend(Tensor::run_backward(&[value], &[&x, weight, bias], false, false));
    found.extend(params.state_dict().into_iter().map(|(_, tensor)| tensor.to_kind(Kind::Double)));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Of a weighted sum over the selected images everything is what PyTorch's batch norm says of
    /// these alone: the other images, which may be anything, do not enter.
    #[test]
    fn selected_images_are_as_if_alone(
        seed in 0u64..1000, h in 1i64..4, w in 1i64..4,
        flags in prop::collection::vec(any::<bool>(), 1..7), odd in prop::sample::select(vec![0.0, 1e6, f64::INFINITY, f64::NAN]),
    ) {
        let n = flags.len() as i64;
        let selected = Tensor::from_slice(&flags);
        let rows = selected.nonzero().view(-1);
        // PyTorch refuses a single value.
        prop_assume!(rows.size()[0] * h * w > 1);
        let mask = selected.view([-1, 1, 1, 1]);
        let x = images(seed, [n, h, w]);
        let to = images(seed + 1, [n, h, w]);
        let alone = run(seed, &x.index_select(0, &rows), &to.index_select(0, &rows), None);
        let mixed = x.where_self(&mask, &Tensor::from(odd));
        let zero = Tensor::from(0.0);
        let together = run(seed, &mixed, &to.where_self(&mask, &zero), Some(&selected));
        let of_rows = |i: usize| together[i].index_select(0, &rows);
        assert_close(&of_rows(0), &alone[0], 1e-10);
        // What is infinite is not summed with weight 0 by the loss above: its product is NaN.
        // Statistics are right all the same.
        if odd.is_finite() {
            assert_close(&of_rows(1), &alone[1], 1e-9);
            assert_close(&together[2], &alone[2], 1e-9);
            assert_close(&together[3], &alone[3], 1e-9);
        }
        for (a, b) in together[4..].iter().zip(&alone[4..]) {
            assert_close(a, b, 1e-12);
        }
    }
}

// By hand: one channel whose selected values are 1, 3 (image 0) and 5, 7 (image 2): mean 4,
// variance 5, unbiased 20/3.
#[test]
fn four_numbers_by_hand() {
    let nn = Builder::default();
    let norm = BatchNorm2d::new(&nn, "bn", 1);
    let params = nn.finish(Some(0), Kind::Double, Device::Cpu);
    let x = Tensor::from_slice(&[1.0, 3.0, 100.0, -4.0, 5.0, 7.0]).view([3, 1, 1, 2]);
    let selected = Tensor::from_slice(&[true, false, true]);
    let pass = params.pass(Mode::Train, false, false, 0, None).selecting(Some(&selected));
    let out = norm.forward(&pass, &x);
    let std = 5.00001f64.sqrt();
    let expected = [-3.0, -1.0, 96.0, -8.0, 1.0, 3.0].map(|value| value / std);
    assert_close(&out.view(-1), &Tensor::from_slice(&expected), 1e-12);
    let state = params.state_dict();
    let of = |name: &str| state.iter().find(|(own, _)| own == name).map(|(_, tensor)| tensor.double_value(&[0]));
    let (mean, var) = (of("bn.running_mean").unwrap(), of("bn.running_var").unwrap());
    assert!((mean - 0.4).abs() < 1e-12 && (var - (0.9 + 2.0 / 3.0)).abs() < 1e-12, "{mean} {var}");
}

#[test]
fn where_none_is_selected_the_running_statistics_serve_and_stay() {
    let (norm, params) = norm(5);
    let x = images(5, [4, 2, 3]);
    let before: Vec<Tensor> = params.state_dict().into_iter().map(|(_, tensor)| tensor.copy()).collect();
    let none = Tensor::from_slice(&[false; 4]);
    params.track(Mode::Train, 1, Some(&none));
    let found = norm.forward(&params.pass(Mode::Train, false, false, 0, None).selecting(Some(&none)), &x);
    assert_close(&found, &norm.forward(&params.pass(Mode::Eval, false, false, 0, None), &x), 1e-12);
    for ((name, after), before) in params.state_dict().iter().zip(&before) {
        assert_eq!(after, before, "{name}");
    }
}

#[test]
fn one_selected_number_leaves_everything_finite() {
    let (norm, params) = norm(6);
    let x = images(6, [3, 1, 1]);
    let one = Tensor::from_slice(&[false, true, false]);
    let found = norm.forward(&params.pass(Mode::Train, false, false, 0, None).selecting(Some(&one)), &x);
    assert_eq!(found.isfinite().all().int64_value(&[]), 1);
    assert!(params.state_dict().iter().all(|(_, tensor)| tensor.isfinite().all().int64_value(&[]) == 1));
}

/// Batch norm, ReLU and sums as models fuse them see the selection too.
#[test]
fn fused_forms_select_alike() {
    let nn = Builder::default();
    let conv = Conv2d::without_bias(&nn, "conv", [CHANNELS, CHANNELS], 3, 1, 1);
    let both = [BatchNorm2d::new(&nn, "a", CHANNELS), BatchNorm2d::new(&nn, "b", CHANNELS)];
    let params = nn.finish(Some(7), Kind::Double, Device::Cpu);
    let start = params.flat().copy();
    let (x, y) = (images(8, [5, 4, 4]), images(9, [5, 4, 4]));
    let selected = Tensor::from_slice(&[true, false, true, true, false]);
    let rows = Tensor::from_slice(&[0i64, 2, 3]);
    let fused = |x: &Tensor, y: &Tensor, selected: Option<&Tensor>, differentiable: bool| {
        let pass = params.pass(Mode::Train, differentiable, false, 0, None).selecting(selected);
        let first = both[0].conv_norm_relu(&pass, &conv, x).out;
        let (sum, second) = both[0].conv_add_norm_relu(&pass, &conv, x, y);
        let joined = both[1].norm_add_relu(&pass, x, crate::nn::Shortcut::Projection(&both[0], y)).out;
        let (down, other) = both[1].conv_pair_norm_relu(&pass, [&conv, &conv], x);
        [first, sum, second.out, joined, down.out, other]
    };
    for differentiable in [false, true] {
        let together = fused(&x, &y, Some(&selected), differentiable);
        let alone = fused(&x.index_select(0, &rows), &y.index_select(0, &rows), None, differentiable);
        for (together, alone) in together.iter().zip(&alone) {
            assert_close(&together.index_select(0, &rows), alone, 1e-10);
        }
    }
    assert_eq!(params.flat(), &start);
}

/// A search lies between a step's forward and backward passes: it moves what libtorch has saved of
/// the first.
#[test]
fn a_pass_in_between_leaves_an_earlier_gradient_alone() {
    let gradient = |between: bool| {
        let (norm, params) = norm(10);
        let x = images(10, [4, 2, 2]).set_requires_grad(true);
        let out = norm.forward(&params.pass(Mode::Train, true, false, 0, None), &x).square().sum(Kind::Double);
        if between {
            let selected = Tensor::from_slice(&[true, false, true, true]);
            let pass = params.pass(Mode::Train, false, false, 1, None).selecting(Some(&selected));
            drop(tch::no_grad(|| norm.forward(&pass, &x)));
        }
        Tensor::run_backward(&[out], &[&x], false, false).remove(0)
    };
    assert_eq!(gradient(true), gradient(false));
}
