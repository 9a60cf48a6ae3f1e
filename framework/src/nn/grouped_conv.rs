//! Convolutions in groups and with dilation.

use super::params::{Builder, Group, Init, ParamId, Pass};
use tch::Tensor;

/// PyTorch's `nn.Conv2d` with `groups` and `dilation` (square kernel): `[N, in, H, W]` to
/// `[N, out, H', W']`. Its gradient is autograd's; [`Conv2d`](super::Conv2d) is the plain one.
#[derive(Debug, Clone)]
pub struct GroupedConv2d {
    weight: ParamId,
    bias: Option<ParamId>,
    shape: ConvShape,
}

/// What [`GroupedConv2d`] takes; begin with the defaults: stride 1, no padding, one group, bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels in and out; both are multiples of `groups`.
    pub channels: [i64; 2],
    /// Pixels along a side of the kernel.
    pub kernel: i64,
    /// Pixels between outputs.
    pub stride: i64,
    /// Zeros around the image.
    pub padding: i64,
    /// Pixels between the kernel's elements.
    pub dilation: i64,
    /// Groups of channels that are convolved apart; `channels[0]` makes it depthwise.
    pub groups: i64,
    /// Whether it has a bias.
    pub bias: bool,
}

impl Default for ConvShape {
    fn default() -> Self {
        Self { channels: [1, 1], kernel: 3, stride: 1, padding: 0, dilation: 1, groups: 1, bias: true }
    }
}

impl GroupedConv2d {
    /// PyTorch's initialisation: weight and bias uniform in ±1/sqrt(fan_in).
    ///
    /// # Panics
    /// When the channels are not multiples of `groups`; in a model's `build` that is its error.
    #[track_caller]
    pub fn new(nn: &Builder, name: &str, shape: ConvShape) -> Self {
        let ConvShape { channels: [inputs, outputs], kernel, groups, .. } = shape;
        assert!(
            groups > 0 && inputs % groups == 0 && outputs % groups == 0,
            "`{name}` convolves {inputs} to {outputs} channels, which are not multiples of {groups} groups"
        );
        let bound = 1.0 / ((inputs / groups * kernel * kernel) as f64).sqrt();
        let weight =
            nn.param(name, "weight", &[outputs, inputs / groups, kernel, kernel], Init::Uniform(bound), Group::Weight);
        let bias = shape.bias.then(|| nn.param(name, "bias", &[outputs], Init::Uniform(bound), Group::Bias));
        Self { weight, bias, shape }
    }

    /// `xs`: `[N, in, H, W]`.
    pub fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let (weight, bias) = (pass.param(self.weight), self.bias.map(|id| pass.param(id)));
        let ConvShape { stride, padding, dilation, groups, .. } = self.shape;
        let out = xs.conv2d(weight, bias, [stride; 2], [padding; 2], [dilation; 2], groups);
        pass.count(xs, weight, &out, weight.size()[1..].iter().product());
        out
    }
}
