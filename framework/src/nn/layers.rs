//! Layers: a constructor that declares, and `forward`.

use super::kernels::{self, Convolutions};
use super::params::{Builder, Group, Init, Mode, ParamId, Pass};
use tch::{Kind, Tensor};

/// PyTorch's `nn.Conv2d` (square kernel): `[N, in, H, W]` to `[N, out, H', W']`.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: ParamId,
    bias: Option<ParamId>,
    stride: i64,
    padding: i64,
}

/// How a convolution's weight starts.
#[derive(Debug, Clone, Copy)]
enum ConvInit {
    PyTorch,
    He(f64),
}

impl Conv2d {
    #[track_caller]
    fn declare(
        nn: &Builder,
        name: &str,
        [inputs, outputs]: [i64; 2],
        [kernel, stride, padding]: [i64; 3],
        bias: bool,
        init: ConvInit,
    ) -> Self {
        let bound = 1.0 / ((inputs * kernel * kernel) as f64).sqrt();
        let (weight, bias_init) = match init {
            ConvInit::PyTorch => (Init::Uniform(bound), Init::Uniform(bound)),
            ConvInit::He(fan) => (Init::Normal((2.0 / fan).sqrt()), Init::Constant(0.0)),
        };
        Self {
            weight: nn.param(name, "weight", &[outputs, inputs, kernel, kernel], weight, Group::Weight),
            bias: bias.then(|| nn.param(name, "bias", &[outputs], bias_init, Group::Bias)),
            stride,
            padding,
        }
    }

    /// With a bias. PyTorch's initialisation: weight and bias uniform in ±1/sqrt(fan_in).
    #[track_caller]
    pub fn new(nn: &Builder, name: &str, channels: [i64; 2], kernel: i64, stride: i64, padding: i64) -> Self {
        Self::declare(nn, name, channels, [kernel, stride, padding], true, ConvInit::PyTorch)
    }

    /// Without a bias, as in front of a batch norm.
    #[track_caller]
    pub fn without_bias(nn: &Builder, name: &str, channels: [i64; 2], kernel: i64, stride: i64, padding: i64) -> Self {
        Self::declare(nn, name, channels, [kernel, stride, padding], false, ConvInit::PyTorch)
    }

    /// Without a bias, weight N(0, 2/(k·k·out)): He et al. 2015 by fan-out, as in the WideResNet
    /// codes.
    #[track_caller]
    pub fn he_fan_out(nn: &Builder, name: &str, channels: [i64; 2], kernel: i64, stride: i64, padding: i64) -> Self {
        let fan = (kernel * kernel * channels[1]) as f64;
        Self::declare(nn, name, channels, [kernel, stride, padding], false, ConvInit::He(fan))
    }

    /// With a bias of zero, weight N(0, 2/(k·k·in)): He et al. 2015 by fan-in, as in TRADES's
    /// SmallCNN.
    #[track_caller]
    pub fn he_fan_in(nn: &Builder, name: &str, channels: [i64; 2], kernel: i64, stride: i64, padding: i64) -> Self {
        let fan = (kernel * kernel * channels[0]) as f64;
        Self::declare(nn, name, channels, [kernel, stride, padding], true, ConvInit::He(fan))
    }

    /// `xs`: `[N, in, H, W]`.
    pub fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        self.convolved(pass, xs, self.bias.map(|id| pass.param(id)))
    }

    /// max([`Conv2d::forward`], 0) without autograd, where bias and maximum can be one pass over
    /// memory.
    pub fn forward_relu(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        match self.bias {
            Some(bias) if kernels::has_kernels(xs.device()) => {
                kernels::affine_relu(&self.convolved(pass, xs, None), None, pass.param(bias))
            }
            _ => relu(self.forward(pass, xs)),
        }
    }

    fn convolved(&self, pass: &Pass, xs: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let weight = pass.param(self.weight);
        let ours = match bias {
            None => Convolutions { weights: [weight], stride_padding: [self.stride_padding()] }
                .forward(xs)
                .map(|[out]| out)
                .or_else(|| kernels::first_conv(xs, weight, self.stride_padding())),
            Some(_) => None,
        };
        let out = ours.unwrap_or_else(|| xs.conv2d(weight, bias, [self.stride; 2], [self.padding; 2], [1, 1], 1));
        self.count(pass, xs, &out);
        out
    }

    /// Counts a forward pass.
    pub(super) fn count(&self, pass: &Pass, xs: &Tensor, out: &Tensor) {
        let weight = pass.param(self.weight);
        pass.count(xs, weight, out, weight.size()[1..].iter().product());
    }

    fn stride_padding(&self) -> [i64; 2] {
        [self.stride, self.padding]
    }

    /// These convolutions for the kernels, if none has a bias.
    pub(super) fn unbiased<'a, const K: usize>(pass: &'a Pass, convs: [&Self; K]) -> Option<Convolutions<'a, K>> {
        let is_unbiased = convs.iter().all(|conv| conv.bias.is_none());
        is_unbiased.then(|| Convolutions {
            weights: convs.map(|conv| pass.param(conv.weight)),
            stride_padding: convs.map(Self::stride_padding),
        })
    }

    /// The gradient with respect to its input `xs`, of which only shape and layout count, from that
    /// with respect to its output.
    ///
    /// # Panics
    /// When the shapes do not belong together, as tch's operators do.
    pub fn backward(&self, pass: &Pass, d_out: &Tensor, xs: &Tensor) -> Tensor {
        let weight = pass.param(self.weight);
        let stride_padding = self.stride_padding();
        Convolutions { weights: [weight], stride_padding: [stride_padding] }
            .backward([d_out])
            .or_else(|| kernels::first_conv_backward(d_out, xs, weight, stride_padding))
            .unwrap_or_else(|| {
                crate::shim::conv_input_gradient(d_out, xs, weight, self.stride, self.padding)
                    .unwrap_or_else(|error| panic!("{error}"))
            })
    }

    /// [`Conv2d::forward`] of two convolutions of the same `xs`, such as a down-sampling block's.
    pub fn forward_pair(pass: &Pass, [first, second]: [&Self; 2], xs: &Tensor) -> [Tensor; 2] {
        let ours = Self::unbiased(pass, [first, second]).and_then(|convs| convs.forward(xs));
        let Some([a, b]) = ours else { return [first.forward(pass, xs), second.forward(pass, xs)] };
        first.count(pass, xs, &a);
        second.count(pass, xs, &b);
        [a, b]
    }

    /// The gradient with respect to the input `xs` of both, of which only shape and layout count,
    /// from those with respect to their outputs.
    ///
    /// # Panics
    /// As [`Conv2d::backward`].
    pub fn backward_pair(pass: &Pass, [first, second]: [&Self; 2], d_outs: [&Tensor; 2], xs: &Tensor) -> Tensor {
        Self::unbiased(pass, [first, second])
            .and_then(|convs| convs.backward(d_outs))
            .unwrap_or_else(|| second.backward_onto(pass, d_outs[1], xs, first.backward(pass, d_outs[0], xs)))
    }

    /// `sum` + [`Conv2d::backward`]; `sum` is used up. Of a 1 x 1 convolution with a stride only
    /// the pixels that it sees are touched.
    fn backward_onto(&self, pass: &Pass, d_out: &Tensor, xs: &Tensor, mut sum: Tensor) -> Tensor {
        let weight = pass.param(self.weight);
        let size = (weight.size4(), d_out.size4());
        let (Ok((_, channels, 1, 1)), Ok((n, _, h, w)), 0, 2..) = (size.0, size.1, self.padding, self.stride) else {
            sum += self.backward(pass, d_out, xs);
            return sum;
        };
        // The pixels that it sees as an image of their own; only the shape counts.
        let like = [h * w * channels, 1, w * channels, channels];
        let seen = Tensor::empty_strided([n, channels, h, w], like, (d_out.kind(), d_out.device()));
        let found =
            crate::shim::conv_input_gradient(d_out, &seen, weight, 1, 0).unwrap_or_else(|error| panic!("{error}"));
        let mut seen = sum.slice(2, None, None, self.stride).slice(3, None, None, self.stride);
        seen += found;
        sum
    }

    /// The gradient with respect to its input, `size` = `[H, W]`, from that with respect to its
    /// output: one product with the weight, then a sum of overlapping patches. On the CPU, with one
    /// input channel, this takes a quarter of the time of libtorch's own; see
    /// [`Model::input_gradient`](crate::model::Model::input_gradient).
    pub fn input_gradient(&self, pass: &Pass, d_out: &Tensor, size: [i64; 2]) -> Tensor {
        let weight = pass.param(self.weight);
        let patches = weight.flatten(1, -1).tr().matmul(&d_out.flatten(2, -1));
        patches.col2im(size, [weight.size()[2]; 2], [1, 1], [self.padding; 2], [self.stride; 2])
    }
}

/// PyTorch's `nn.Linear`: `[N, in]` to `[N, out]`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: ParamId,
    bias: ParamId,
}

impl Linear {
    /// PyTorch's initialisation: weight and bias uniform in ±1/sqrt(in).
    #[track_caller]
    pub fn new(nn: &Builder, name: &str, inputs: i64, outputs: i64) -> Self {
        let bound = 1.0 / (inputs as f64).sqrt();
        Self::declare(nn, name, inputs, outputs, Init::Uniform(bound), Init::Uniform(bound))
    }

    /// The weight as PyTorch's, the bias zero, as in the WideResNet codes.
    #[track_caller]
    pub fn with_zero_bias(nn: &Builder, name: &str, inputs: i64, outputs: i64) -> Self {
        let bound = 1.0 / (inputs as f64).sqrt();
        Self::declare(nn, name, inputs, outputs, Init::Uniform(bound), Init::Constant(0.0))
    }

    /// Weight and bias zero, as TRADES's SmallCNN starts its last layer.
    #[track_caller]
    pub fn zero(nn: &Builder, name: &str, inputs: i64, outputs: i64) -> Self {
        Self::declare(nn, name, inputs, outputs, Init::Constant(0.0), Init::Constant(0.0))
    }

    #[track_caller]
    fn declare(nn: &Builder, name: &str, inputs: i64, outputs: i64, weight: Init, bias: Init) -> Self {
        Self {
            weight: nn.param(name, "weight", &[outputs, inputs], weight, Group::Weight),
            bias: nn.param(name, "bias", &[outputs], bias, Group::Bias),
        }
    }

    /// `xs`: `[N, in]`.
    pub fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let weight = pass.param(self.weight);
        let out = xs.linear(weight, Some(pass.param(self.bias)));
        pass.count(xs, weight, &out, weight.size()[1]);
        out
    }

    /// The gradient with respect to its input, `[N, in]`, from that with respect to its output,
    /// `[N, out]`.
    pub fn backward(&self, pass: &Pass, d_out: &Tensor) -> Tensor {
        d_out.matmul(pass.param(self.weight))
    }

    /// [`Linear::forward`] of [`global_average`] of `xs` `[N, in, H, W]`, without autograd: `[N,
    /// out]`, in fp32 or in the kind of `xs`.
    pub fn forward_pooled(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let (weight, bias) = (pass.param(self.weight), pass.param(self.bias));
        match kernels::pooled_linear(xs, weight, bias) {
            Some(out) => {
                pass.count(xs, weight, &out, weight.size()[1]);
                out
            }
            None => self.forward(pass, &global_average(xs)),
        }
    }

    pub(super) fn weight<'a>(&self, pass: &'a Pass) -> &'a Tensor {
        pass.param(self.weight)
    }

    /// The gradient of [`Linear::forward_pooled`] with respect to `xs`, of which only shape, kind
    /// and layout count, from that with respect to its output.
    pub fn backward_pooled(&self, pass: &Pass, d_out: &Tensor, xs: &Tensor) -> Tensor {
        let weight = pass.param(self.weight);
        kernels::pooled_linear_backward(d_out, weight, xs, None).unwrap_or_else(|| {
            let pixels = xs.size()[2..].iter().product::<i64>() as f64;
            let d_mean = self.backward(pass, &d_out.to_kind(weight.kind())) / pixels;
            d_mean.unsqueeze(-1).unsqueeze(-1).expand_as(xs)
        })
    }
}

/// In train mode each number is zero with probability `p` and otherwise divided by `1 - p`; keyed
/// by image, so that it does not depend on the batch.
pub fn dropout(pass: &Pass, xs: &Tensor, p: f64) -> Tensor {
    if p > 0.0 {
        pass.mark_random();
    }
    if pass.mode() == Mode::Eval {
        return xs.shallow_clone();
    }
    match pass.draw(&xs.size()[1..], xs.kind()) {
        Some(u) => xs * u.ge(p).to_kind(xs.kind()) / (1.0 - p),
        None => xs.shallow_clone(),
    }
}

/// Nearest-neighbour resize to `size` = `[H, W]`, as `nn.Upsample(size=…)` does.
pub fn nearest_resize(xs: &Tensor, size: [i64; 2]) -> Tensor {
    xs.upsample_nearest2d(size, None, None)
}

/// The largest of each 2 x 2 square, as `nn.MaxPool2d(2)` does; an odd last row or column is left
/// out.
pub fn max_pool2(xs: &Tensor) -> Tensor {
    xs.max_pool2d([2; 2], [2; 2], [0; 2], [1; 2], false)
}

/// The mean of each square of `side` x `side` pixels, as `nn.AvgPool2d(side)` does; what is left
/// over at the last row or column is left out.
pub fn avg_pool(xs: &Tensor, side: i64) -> Tensor {
    xs.avg_pool2d([side; 2], [side; 2], [0; 2], false, true, None)
}

/// Means over parts of the image, so that `size` = `[H, W]` of them come out, as
/// `nn.AdaptiveAvgPool2d(size)` does.
pub fn adaptive_avg_pool(xs: &Tensor, size: [i64; 2]) -> Tensor {
    xs.adaptive_avg_pool2d(size)
}

/// x · Φ(x), with Φ the normal distribution (Hendrycks & Gimpel 2016), as `nn.GELU()` does.
pub fn gelu(xs: &Tensor) -> Tensor {
    xs.gelu("none")
}

/// The mean over all pixels: `[N, C, H, W]` to `[N, C]`. Codes that pool windows as large as their
/// last map mean this.
pub fn global_average(xs: &Tensor) -> Tensor {
    xs.mean_dim([2i64, 3].as_slice(), false, None::<Kind>)
}

/// max(x, 0), in place: convolutions, linear layers and norms do not need their output in the
/// backward pass.
pub fn relu(mut xs: Tensor) -> Tensor {
    xs.relu_()
}

/// The gradient of [`relu`], from that with respect to what came `out` of it.
pub fn relu_backward(d_out: &Tensor, out: &Tensor) -> Tensor {
    kernels::affine_relu_backward(d_out, out, None, None)
}

/// `xs` `[N, C, H, W]` as `[N, C·H·W]` without autograd, as PyTorch's `nn.Flatten` does.
pub fn flatten(xs: &Tensor) -> Tensor {
    kernels::flatten(xs).unwrap_or_else(|| xs.flatten(1, -1))
}

/// The gradient of [`flatten`] with respect to `xs`, of which only shape, kind and layout count.
pub fn flatten_backward(d_out: &Tensor, xs: &Tensor) -> Tensor {
    kernels::unflatten(d_out, xs).unwrap_or_else(|| d_out.view_as(xs))
}

/// x for x > 0 and `slope` · x below.
pub fn leaky_relu(xs: Tensor, slope: f64) -> Tensor {
    // Not max(x, slope · x): at 0 PyTorch's gradient is the slope.
    xs.where_self(&xs.gt(0.0), &(&xs * slope))
}
