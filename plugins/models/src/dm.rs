//! The residual networks of DeepMind's robust models, under the names of their PyTorch checkpoints
//! (RobustBench's `DMPreActResNet` and `DMWideResNet`).
//!
//! They differ from `preact_resnet18` and `wide_resnet` in the activation, in where a convolution
//! of stride 2 pads (one row and column at the bottom and the right), and in the small one's
//! shortcuts.

use crate::{Activation, shape};
use foil::model::{Hint, Shapes};
use foil::{hint, prelude::*};

/// PreAct-ResNet-18 of Rebuffi et al. 2021 (arXiv:2103.01946), Gowal et al. 2021, Rade & Moosavi-
/// Dezfooli 2022 and Wang et al. 2023. 12,548,426 parameters on CIFAR-10.
///
/// As `preact_resnet18`, but where the shape changes the shortcut is a 3 x 3 convolution of the
/// block's raw input. `foil import` reads RobustBench's checkpoints. Their normalisation is
/// `normalize: { mean: [0.4914, 0.4822, 0.4465], std: [0.2471, 0.2435, 0.2616] }`, and training
/// has `batch_norm: { momentum: 0.01 }`.
#[settings]
pub struct DmPreactResnet18 {
    /// What follows each batch norm.
    #[set(default = Activation::Silu)]
    pub activation: Activation,
}

/// Wide ResNet of Gowal et al. 2020 (arXiv:2010.03593), Rebuffi et al. 2021 and Wang et al. 2023.
/// WRN-28-10 has 36,479,194 parameters on CIFAR-10.
///
/// As `wide_resnet`, where the shortcut is a 1 x 1 convolution of the activated input. `foil
/// import` reads RobustBench's checkpoints; normalisation and momentum are those of
/// `dm_preact_resnet18`.
#[settings]
pub struct DmWideResnet {
    /// Number of layers, 6n + 4.
    #[set(default = 28, range = 10..=10_000)]
    pub depth: i64,
    /// Channels relative to the narrow network.
    #[set(default = 10, range = 1..=1_000)]
    pub width: i64,
    /// What follows each batch norm.
    #[set(default = Activation::Silu)]
    pub activation: Activation,
}

/// A convolution of 3 x 3 that pads as TensorFlow's `SAME` does: of n pixels with stride 2 it makes
/// n / 2, rounded up. An even n needs one pixel of padding, which is at the end; an odd one two.
struct SameConv {
    conv: Conv2d,
    stride: i64,
}

impl SameConv {
    fn new(nn: &Builder, name: &str, channels: [i64; 2], stride: i64, conv: NewConv) -> Self {
        Self { conv: conv(nn, name, channels, 3, stride, if stride == 1 { 1 } else { 0 }), stride }
    }

    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        match self.stride {
            1 => self.conv.forward(pass, xs),
            _ => {
                let size = xs.size();
                let [left, top] = [size[size.len() - 1] % 2, size[size.len() - 2] % 2];
                self.conv.forward(pass, &xs.constant_pad_nd([left, 1, top, 1]))
            }
        }
    }
}

type NewConv = fn(&Builder, &str, [i64; 2], i64, i64, i64) -> Conv2d;

/// What a block adds its convolutions to.
enum Shortcut {
    /// Its raw input.
    Identity,
    /// A convolution of its raw input.
    OfRaw(SameConv),
    /// A convolution of its activated input.
    OfActivated(Conv2d),
}

struct Block {
    norms: [BatchNorm2d; 2],
    convs: [SameConv; 2],
    shortcut: Shortcut,
}

struct Net {
    first: Conv2d,
    blocks: Vec<Block>,
    norm: BatchNorm2d,
    logits: Linear,
    activation: Activation,
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let mut sum = self.first.forward(pass, xs);
        for Block { norms, convs, shortcut } in &self.blocks {
            let entering = self.activation.of(norms[0].forward(pass, &sum));
            let between = self.activation.of(norms[1].forward(pass, &convs[0].forward(pass, &entering)));
            let shortcut = match shortcut {
                Shortcut::Identity => sum.shallow_clone(),
                Shortcut::OfRaw(conv) => conv.forward(pass, &sum),
                Shortcut::OfActivated(conv) => conv.forward(pass, &entering),
            };
            sum = convs[1].forward(pass, &between) + shortcut;
        }
        let last = self.activation.of(self.norm.forward(pass, &sum));
        let features = nn::global_average(&last);
        pass.feature("penultimate", &features);
        self.logits.forward(pass, &features)
    }
}

impl Config<dyn Model> for DmPreactResnet18 {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        shape::require_eight_pixels(cx);
        let (nn, conv) = (cx.builder(), Conv2d::without_bias as NewConv);
        let first = conv(nn, "conv_2d", [cx.inputs(), 64], 3, 1, 1);
        let block = |nn: &Builder, [inputs, outputs]: [i64; 2], stride| Block {
            norms: [BatchNorm2d::new(nn, "batchnorm_0", inputs), BatchNorm2d::new(nn, "batchnorm_1", outputs)],
            convs: [
                SameConv::new(nn, "conv_2d_1", [inputs, outputs], stride, conv),
                SameConv::new(nn, "conv_2d_2", [outputs; 2], 1, conv),
            ],
            shortcut: match stride != 1 || inputs != outputs {
                true => Shortcut::OfRaw(SameConv::new(nn, "shortcut", [inputs, outputs], stride, conv)),
                false => Shortcut::Identity,
            },
        };
        let stages = [[64, 64, 1], [64, 128, 2], [128, 256, 2], [256, 512, 2]];
        let blocks = stages.into_iter().enumerate().flat_map(|(n, [inputs, outputs, stride])| {
            let name = format!("layer_{n}");
            crate::blocks::stage(nn, &name, 2, [inputs, outputs], stride, block)
        });
        let blocks = blocks.collect();
        let norm = BatchNorm2d::new(nn, "batchnorm", 512);
        let logits = Linear::new(nn, "logits", 512, cx.data.classes);
        Ok(Box::new(Net { first, blocks, norm, logits, activation: self.activation }))
    }
}

impl Config<dyn Model> for DmWideResnet {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        shape::require_eight_pixels(cx);
        let blocks = (self.depth - 4) / 6;
        if self.depth != 6 * blocks + 4 {
            let help = format!("write {} or {}", 6 * blocks + 4, 6 * blocks + 10);
            cx.problem("depth", format!("is {}, but a wide ResNet has 6n + 4 layers", self.depth), help);
        }
        let (nn, conv) = (cx.builder(), Conv2d::he_fan_out as NewConv);
        let first = conv(nn, "init_conv", [cx.inputs(), 16], 3, 1, 1);
        let block = |nn: &Builder, [inputs, outputs]: [i64; 2], stride| Block {
            norms: [BatchNorm2d::new(nn, "batchnorm_0", inputs), BatchNorm2d::new(nn, "batchnorm_1", outputs)],
            convs: [
                SameConv::new(nn, "conv_0", [inputs, outputs], stride, conv),
                SameConv::new(nn, "conv_1", [outputs; 2], 1, conv),
            ],
            shortcut: match inputs == outputs {
                true => Shortcut::Identity,
                false => Shortcut::OfActivated(conv(nn, "shortcut", [inputs, outputs], 1, stride, 0)),
            },
        };
        let [narrow, middle, wide] = [16, 32, 64].map(|channels| channels * self.width);
        let groups = [[16, narrow, 1], [narrow, middle, 2], [middle, wide, 2]];
        let blocks = groups.into_iter().enumerate().flat_map(|(n, [inputs, outputs, stride])| {
            let name = format!("layer.{n}.block");
            crate::blocks::stage(nn, &name, blocks, [inputs, outputs], stride, block)
        });
        let blocks = blocks.collect();
        let norm = BatchNorm2d::new(nn, "batchnorm", wide);
        let logits = Linear::with_zero_bias(nn, "logits", wide, cx.data.classes);
        Ok(Box::new(Net { first, blocks, norm, logits, activation: self.activation }))
    }
}

fn settings(shapes: &Shapes) -> Option<String> {
    shapes.contains_key("layer_0.0.conv_2d_1.weight").then(|| "dm_preact_resnet18".into())
}

/// Depth and width from the number of blocks of a group and the channels at the end.
fn settings_of_wide(shapes: &Shapes) -> Option<String> {
    let blocks = (0..200).take_while(|n| shapes.contains_key(&format!("layer.0.block.{n}.conv_0.weight"))).count();
    let width = shapes.get("batchnorm.weight")?.first()? / 64;
    // No wider network is known, and a file may contain anything.
    let known = blocks > 0 && (1..=64).contains(&width);
    known.then(|| format!("{{ type: dm_wide_resnet, depth: {}, width: {width} }}", 6 * blocks + 4))
}

/// What both networks do to their images before the first convolution.
const INSIDE: [(&str, &str); 2] = [
    ("cifar10", "{ mean: [0.4914, 0.4822, 0.4465], std: [0.2471, 0.2435, 0.2616] }"),
    ("cifar100", "{ mean: [0.5071, 0.4865, 0.4409], std: [0.2673, 0.2564, 0.2762] }"),
];

hint! { Hint { inside: &INSIDE, ..Hint::of("dm_preact_resnet18", settings) } }
hint! { Hint { inside: &INSIDE, ..Hint::of("dm_wide_resnet", settings_of_wide) } }

register!(dyn Model, "dm_preact_resnet18", DmPreactResnet18, "{}");
register!(dyn Model, "dm_wide_resnet", DmWideResnet, "{ depth: 28, width: 10 }");

#[cfg(test)]
mod tests {
    use crate::testing::{CIFAR10, CIFAR100, count};

    #[test]
    fn have_as_many_parameters_as_the_published_ones() {
        assert_eq!(count("dm_preact_resnet18", CIFAR10), 12_548_426);
        assert_eq!(count("dm_preact_resnet18", CIFAR100), 12_594_596);
        assert_eq!(count("dm_wide_resnet", CIFAR10), 36_479_194);
        assert_eq!(count("{ type: dm_wide_resnet, depth: 34 }", CIFAR10), 46_160_474);
        assert_eq!(count("{ type: dm_wide_resnet, depth: 70, width: 16 }", CIFAR10), 266_796_506);
    }
}
