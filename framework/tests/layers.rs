//! Layers compute what PyTorch's of the same name do, and have its `state_dict` names.
//!
//! ```python
//! import torch, torch.nn as nn; torch.set_default_dtype(torch.float64)
//! def fill(m):
//!     with torch.no_grad():
//!         for n, (name, p) in enumerate(m.named_parameters()):
//!             p.copy_(torch.sin(torch.arange(p.numel()) * 0.7 + n).view_as(p) * 0.5)
//!     return m
//! x = torch.cos(torch.arange(72) * 0.3).view(2, 4, 3, 3); t = x.flatten(2).transpose(1, 2)
//! fill(nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2))(x)[1, :, 1, 1]
//! fill(nn.GroupNorm(2, 4))(x)[1, :, 1, 1]
//! fill(nn.LayerNorm(4))(t)[1, 4]
//! fill(nn.MultiheadAttention(4, 2, batch_first=True))(t, t, t)[0][1, 4]
//! ```

use foil::nn::{
    Builder, ConvShape, GroupNorm, GroupedConv2d, LayerNorm, Mode, Parameters, Pass, SelfAttention, Start,
    adaptive_avg_pool, avg_pool, gelu,
};
use foil::testing::assert_close;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

/// `[2, 4, 3, 3]`.
fn images() -> Tensor {
    (Tensor::arange(72, F64) * 0.3).cos().view([2, 4, 3, 3])
}

/// `[2, 9, 4]`.
fn tokens() -> Tensor {
    images().flatten(2, -1).transpose(1, 2)
}

/// The layer's output with the weights of `fill`, and the names of its parameters.
fn run<L>(declare: impl FnOnce(&Builder) -> L, forward: impl FnOnce(&L, &Pass) -> Tensor) -> (Tensor, Vec<String>) {
    let nn = Builder::default();
    let layer = declare(&nn);
    let params: Parameters = nn.finish(Some(0), Kind::Double, Device::Cpu);
    let names: Vec<String> = params.names().map(str::to_string).collect();
    let shapes: BTreeMap<String, Vec<i64>> =
        params.state_dict().into_iter().map(|(name, tensor)| (name, tensor.size())).collect();
    let filled = names.iter().enumerate().map(|(n, name)| {
        let count = shapes[name].iter().product::<i64>();
        let values = (Tensor::arange(count, F64) * 0.7 + n as f64).sin() * 0.5;
        (name.clone(), values.view(shapes[name].as_slice()))
    });
    params.load(&filled.collect()).unwrap();
    let pass = params.pass(Mode::Eval, false, false, 0, None);
    (forward(&layer, &pass), names)
}

fn at(values: &Tensor, expected: &[f64]) {
    assert_close(values, &Tensor::from_slice(expected), 1e-8);
}

#[test]
fn convolutions_in_groups() {
    let shape = ConvShape { channels: [4, 6], padding: 2, dilation: 2, groups: 2, ..ConvShape::default() };
    let (out, names) = run(|nn| GroupedConv2d::new(nn, "conv", shape), |conv, pass| conv.forward(pass, &images()));
    assert_eq!(names, ["conv.weight", "conv.bias"]);
    let expected = [0.476943079, 0.547142811, 0.384086793, 0.070163796, -0.263719859, -0.453768081];
    at(&out.select(0, 1).select(1, 1).select(1, 1), &expected);
    at(&out.sum(Kind::Double).view([1]), &[18.704458618]);
}

#[test]
fn norms_of_one_image() {
    let (out, names) = run(|nn| GroupNorm::new(nn, "norm", 2, 4), |norm, pass| norm.forward(pass, &images()));
    assert_eq!(names, ["norm.weight", "norm.bias"]);
    at(&out.select(0, 1).select(1, 1).select(1, 1), &[0.420735492, 0.1976238, 0.308923419, 0.127290899]);
    at(&out.square().sum(Kind::Double).view([1]), &[17.88532099]);

    let (out, _) = run(|nn| LayerNorm::new(nn, "norm", 4), |norm, pass| norm.forward(pass, &tokens()));
    at(&out.select(0, 1).select(0, 4), &[0.420735492, 0.025157833, 0.272158453, 0.133218532]);
    at(&out.square().sum(Kind::Double).view([1]), &[18.832898420]);
}

#[test]
fn attention() {
    let (out, names) = run(|nn| SelfAttention::new(nn, "attn", 4, 2), |attn, pass| attn.forward(pass, &tokens()));
    let expected = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"];
    assert_eq!(names, expected.map(|name| format!("attn.{name}")));
    at(&out.select(0, 1).select(0, 4), &[0.029145358, -0.410114899, -0.160771, -0.91136719]);
    at(&out.square().sum(Kind::Double).view([1]), &[19.339669047]);
}

// nn.functional.gelu(torch.tensor([-2., -.5, 0., 1., 3.])); nn.AvgPool2d(2)(x)[1, :, 0, 0]
// nn.AdaptiveAvgPool2d(2)(x)[1, 1]
#[test]
fn functions() {
    let values = Tensor::from_slice(&[-2.0, -0.5, 0.0, 1.0, 3.0]);
    at(&gelu(&values), &[-0.045500264, -0.154268769, 0.0, 0.841344746, 2.995950306]);
    let pooled = avg_pool(&images(), 2).select(0, 1).flatten(0, -1);
    at(&pooled, &[0.350339104, 0.03308345, -0.410158755, 0.708542758]);
    let pooled = adaptive_avg_pool(&images(), [2, 2]).select(0, 1).select(0, 1).flatten(0, -1);
    at(&pooled, &[0.03308345, -0.231324759, -0.676377537, -0.817266867]);
}

#[test]
fn parameters_of_ones_own_come_from_the_seed() {
    let build = |seed| {
        let nn = Builder::default();
        let token = nn.scope("vit", |nn| nn.parameter("cls_token", &[1, 1, 64], Start::Normal(0.02)));
        let params = nn.finish(Some(seed), Kind::Double, Device::Cpu);
        let pass = params.pass(Mode::Eval, false, false, 0, None);
        pass.parameter(token).copy()
    };
    let (first, again, other) = (build(1), build(1), build(2));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let std = first.std(true).double_value(&[]);
    assert!((0.01..0.03).contains(&std), "{std}");
}
