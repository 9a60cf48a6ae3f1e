//! Wide residual networks: the larger CIFAR networks of TRADES, MART, FAT, MMA and CAT.

use crate::Activation;
use crate::blocks::{PreActBlock, stage};
use crate::preact::PreActNet;
use crate::shape;
use foil::model::{Hint, Shapes};
use foil::{hint, prelude::*};

/// Wide ResNet (Zagoruyko & Komodakis 2016, arXiv:1605.07146). WRN-34-10 has 46,160,474 parameters
/// on CIFAR-10.
///
/// conv 16, three groups of (depth - 4)/6 pre-activation blocks (16, 32, 64 channels times `width`;
/// strides 1, 2, 2), batch norm, ReLU, mean over the image, linear. Convolutions are initialised
/// from N(0, 2/(9 · out)) (He et al. 2015, fan-out), the last bias to 0. Names are those of TRADES,
/// whose code also has a group `sub_block1` that is never used; it is left out here. TRADES, MART,
/// FAT-TRADES and CAT use 34-10, MMA 28-4 (with `normalize: per_image`). FAT's "WRN-32-10" is
/// 34-10.
#[settings]
pub struct WideResnet {
    /// Number of layers, 6n + 4.
    #[set(default = 34, range = 10..=10_000)]
    pub depth: i64,
    /// Channels relative to the narrow network.
    #[set(default = 10, range = 1..=1_000)]
    pub width: i64,
    /// Share of values dropped between a block's convolutions in train mode; the papers drop none.
    #[set(default = 0.0, range = 0.0.., below = 1.0)]
    pub drop_rate: f64,
    /// What follows each batch norm. With `silu` every layer runs by itself, which is slower.
    #[set(default = Activation::Relu)]
    #[serde(skip_serializing_if = "Activation::is_relu")]
    pub activation: Activation,
}

impl Config<dyn Model> for WideResnet {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        shape::require_eight_pixels(cx);
        let blocks = (self.depth - 4) / 6;
        if self.depth != 6 * blocks + 4 {
            let help = format!("write {} or {}", 6 * blocks + 4, 6 * blocks + 10);
            cx.problem("depth", format!("is {}, but a wide ResNet has 6n + 4 layers", self.depth), help);
        }
        let nn = cx.builder();
        let conv = Conv2d::he_fan_out;
        let block = |nn: &Builder, channels, stride| {
            PreActBlock::new(nn, channels, stride, conv, "convShortcut").dropping(self.drop_rate)
        };
        let [narrow, middle, wide] = [16, 32, 64].map(|channels| channels * self.width);
        let groups = [
            ("block1.layer", [16, narrow], 1),
            ("block2.layer", [narrow, middle], 2),
            ("block3.layer", [middle, wide], 2),
        ];
        Ok(Box::new(PreActNet {
            conv1: conv(nn, "conv1", [cx.inputs(), 16], 3, 1, 1),
            blocks: groups
                .into_iter()
                .flat_map(|(name, channels, stride)| stage(nn, name, blocks, channels, stride, block))
                .collect(),
            bn: Some(BatchNorm2d::new(nn, "bn1", wide)),
            linear: Linear::with_zero_bias(nn, "fc", wide, cx.data.classes),
            activation: self.activation,
        }))
    }
}

/// TRADES's names for the groups.
fn settings(shapes: &Shapes) -> Option<String> {
    settings_of(shapes, "block1")
}

/// MMA's, from advertorch's examples.
fn settings_of_mma(shapes: &Shapes) -> Option<String> {
    settings_of(shapes, "convgroup1")
}

/// Depth and width from the number of blocks in the `group` and the channels at the end.
fn settings_of(shapes: &Shapes, group: &str) -> Option<String> {
    let blocks = (0..200).take_while(|n| shapes.contains_key(&format!("{group}.layer.{n}.conv1.weight"))).count();
    let width = shapes.get("bn1.weight")?.first()? / 64;
    // No wider network is known, and a file may contain anything.
    let known = blocks > 0 && (1..=64).contains(&width);
    known.then(|| format!("{{ type: wide_resnet, depth: {}, width: {width} }}", 6 * blocks + 4))
}

hint! { Hint { unused: &["sub_block1."], ..Hint::of("wide_resnet", settings) } }

/// MMA's groups and shortcuts have other names, and each image is standardised first.
const MMA: [(&str, &str); 4] =
    [("block1", "convgroup1"), ("block2", "convgroup2"), ("block3", "convgroup3"), ("convShortcut", "conv_shortcut")];

hint! { Hint { renamed: &MMA, normalize: Some("per_image"), ..Hint::of("wide_resnet", settings_of_mma) } }

register!(dyn Model, "wide_resnet", WideResnet, "{ depth: 34, width: 10 }");

#[cfg(test)]
mod tests {
    use crate::testing::{CIFAR10, CIFAR100, assert_own_gradient, count, problems};
    use foil::registry::DataFacts;

    #[test]
    fn has_as_many_parameters_as_the_papers() {
        assert_eq!(count("wide_resnet", CIFAR10), 46_160_474);
        assert_eq!(count("wide_resnet", CIFAR100), 46_218_164);
        assert_eq!(count("{ type: wide_resnet, depth: 28, width: 10 }", CIFAR10), 36_479_194);
        assert_eq!(count("{ type: wide_resnet, depth: 28, width: 4 }", CIFAR10), 5_849_050);
    }

    #[test]
    fn depths_and_images_that_do_not_fit_are_reported_together() {
        let found = problems("{ type: wide_resnet, depth: 30 }", DataFacts { width: 7, ..CIFAR10 });
        assert_eq!(
            found,
            [
                "`model` takes images of at least 8 x 8; the data's are 3 x 32 x 7 (channels, height, width) (`small_cnn` takes images of any size)",
                "`model.depth` is 30, but a wide ResNet has 6n + 4 layers (write 28 or 34)",
            ]
        );
    }

    #[test]
    fn its_own_input_gradient_is_autograds() {
        assert_own_gradient("{ type: wide_resnet, depth: 10, width: 2 }", CIFAR10);
    }
}
