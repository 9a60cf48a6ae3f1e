//! Residual blocks, and the stages they form.

use foil::nn::{NormAddRelu, NormRelu, Shortcut};
use foil::prelude::*;

/// A constructor of 3 x 3 and 1 x 1 convolutions without bias, which determines their
/// initialisation.
pub(crate) type NewConv = fn(&Builder, &str, [i64; 2], i64, i64, i64) -> Conv2d;

/// The pre-activation block of He et al. 2016, "Identity Mappings in Deep Residual Networks":
/// batch norm and ReLU before each convolution. Where the shape changes, the shortcut is a 1 x 1
/// convolution of the activated input.
pub(crate) struct PreActBlock {
    pub(crate) bn1: BatchNorm2d,
    pub(crate) conv1: Conv2d,
    pub(crate) bn2: BatchNorm2d,
    pub(crate) conv2: Conv2d,
    pub(crate) shortcut: Option<Conv2d>,
    pub(crate) drop_rate: f64,
}

impl PreActBlock {
    /// `channels` is `[in, out]`, `shortcut` the name of the 1 x 1 convolution; no dropout.
    pub(crate) fn new(nn: &Builder, channels: [i64; 2], stride: i64, conv: NewConv, shortcut: &str) -> Self {
        let [inputs, outputs] = channels;
        Self {
            bn1: BatchNorm2d::new(nn, "bn1", inputs),
            conv1: conv(nn, "conv1", channels, 3, stride, 1),
            bn2: BatchNorm2d::new(nn, "bn2", outputs),
            conv2: conv(nn, "conv2", [outputs; 2], 3, 1, 1),
            shortcut: (stride != 1 || inputs != outputs).then(|| conv(nn, shortcut, channels, 1, stride, 0)),
            drop_rate: 0.0,
        }
    }

    /// Drops this share of the values between the convolutions in train mode.
    pub(crate) fn dropping(self, drop_rate: f64) -> Self {
        Self { drop_rate, ..self }
    }
}

/// What a [`BasicBlock`] keeps for its gradient: what is between its convolutions, and its end.
pub(crate) type Kept = (NormRelu, NormAddRelu);

/// The block of He et al. 2015, "Deep Residual Learning": each convolution is followed by batch
/// norm, the sum by ReLU. Where the shape changes, the shortcut is a 1 x 1 convolution and a batch
/// norm.
pub(crate) struct BasicBlock {
    pub(crate) conv1: Conv2d,
    pub(crate) bn1: BatchNorm2d,
    pub(crate) conv2: Conv2d,
    pub(crate) bn2: BatchNorm2d,
    pub(crate) shortcut: Option<(Conv2d, BatchNorm2d)>,
}

impl BasicBlock {
    /// `channels` is `[in, out]`.
    pub(crate) fn new(nn: &Builder, channels: [i64; 2], stride: i64) -> Self {
        let [inputs, outputs] = channels;
        Self {
            conv1: Conv2d::without_bias(nn, "conv1", channels, 3, stride, 1),
            bn1: BatchNorm2d::new(nn, "bn1", outputs),
            conv2: Conv2d::without_bias(nn, "conv2", [outputs; 2], 3, 1, 1),
            bn2: BatchNorm2d::new(nn, "bn2", outputs),
            shortcut: (stride != 1 || inputs != outputs).then(|| {
                let conv = Conv2d::without_bias(nn, "shortcut.0", channels, 1, stride, 0);
                (conv, BatchNorm2d::new(nn, "shortcut.1", outputs))
            }),
        }
    }

    /// Returns the activation between the convolutions, and the output. Batch norm and ReLU are
    /// one pass over memory, and so are the last batch norms, the sum and its ReLU.
    pub(crate) fn pass(&self, pass: &Pass, xs: &Tensor) -> Kept {
        let Some((conv, bn)) = &self.shortcut else {
            let between = self.bn1.conv_norm_relu(pass, &self.conv1, xs);
            let ys = self.conv2.forward(pass, &between.out);
            return (between, self.bn2.norm_add_relu(pass, &ys, Shortcut::Identity(xs)));
        };
        let (between, side) = self.bn1.conv_pair_norm_relu(pass, [&self.conv1, conv], xs);
        let ys = self.conv2.forward(pass, &between.out);
        (between, self.bn2.norm_add_relu(pass, &ys, Shortcut::Projection(bn, &side)))
    }
}

/// `blocks` blocks named `name.0`, `name.1`, …; the first goes from `channels[0]` to `channels[1]`
/// with this stride.
pub(crate) fn stage<B>(
    nn: &Builder,
    name: &str,
    blocks: i64,
    channels: [i64; 2],
    stride: i64,
    block: impl Fn(&Builder, [i64; 2], i64) -> B,
) -> Vec<B> {
    let first = |nn: &Builder| block(nn, channels, stride);
    let later = |nn: &Builder| block(nn, [channels[1]; 2], 1);
    nn.scope(name, |nn| (0..blocks).map(|i| if i == 0 { nn.scope(i, first) } else { nn.scope(i, later) }).collect())
}

/// ResNet-18's stages `layer1` to `layer4`, two blocks each, from 64 channels to 512 while the
/// image halves three times.
pub(crate) fn resnet18_stages<B>(nn: &Builder, block: impl Fn(&Builder, [i64; 2], i64) -> B) -> Vec<B> {
    let stages =
        [("layer1", [64, 64], 1), ("layer2", [64, 128], 2), ("layer3", [128, 256], 2), ("layer4", [256, 512], 2)];
    stages.into_iter().flat_map(|(name, channels, stride)| stage(nn, name, 2, channels, stride, &block)).collect()
}
