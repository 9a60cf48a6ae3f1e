//! PreAct-ResNet-18: the CIFAR network of robust_overfitting and of the CAT paper.

use crate::Activation;
use crate::blocks::{PreActBlock, resnet18_stages};
use crate::preact::PreActNet;
use crate::shape;
use foil::model::{Hint, Shapes};
use foil::{hint, prelude::*};

/// PreAct-ResNet-18 for small images (He et al. 2016, arXiv:1603.05027). 11,172,170 parameters on
/// CIFAR-10.
///
/// conv 64 without pooling, four stages of two pre-activation blocks (64, 128, 256, 512 channels;
/// strides 1, 2, 2, 2), batch norm, ReLU, mean over the image, linear. Names are those of
/// robust_overfitting and CAT. All layers are initialised as PyTorch's are.
#[settings]
pub struct PreactResnet18 {
    /// Whether a batch norm and a ReLU follow the last block: robust_overfitting and CAT have them,
    /// FAT's copy does not.
    #[set(default = true)]
    pub final_norm: bool,
    /// What follows each batch norm. With `silu` every layer runs by itself, which is slower.
    #[set(default = Activation::Relu)]
    #[serde(skip_serializing_if = "Activation::is_relu")]
    pub activation: Activation,
}

impl Config<dyn Model> for PreactResnet18 {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        shape::require_eight_pixels(cx);
        let nn = cx.builder();
        let block =
            |nn: &Builder, channels, stride| PreActBlock::new(nn, channels, stride, Conv2d::without_bias, "shortcut.0");
        Ok(Box::new(PreActNet {
            conv1: Conv2d::without_bias(nn, "conv1", [cx.inputs(), 64], 3, 1, 1),
            blocks: resnet18_stages(nn, block),
            bn: self.final_norm.then(|| BatchNorm2d::new(nn, "bn", 512)),
            linear: Linear::new(nn, "linear", 512, cx.data.classes),
            activation: self.activation,
        }))
    }
}

/// FAT's copy has no last batch norm.
fn settings(shapes: &Shapes) -> Option<String> {
    let without = shapes.contains_key("layer4.1.bn2.weight") && !shapes.contains_key("bn.weight");
    without.then(|| "{ type: preact_resnet18, final_norm: false }".into())
}

hint! { Hint::of("preact_resnet18", settings) }

register!(dyn Model, "preact_resnet18", PreactResnet18, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{CIFAR10, CIFAR100, assert_own_gradient, count, problems};
    use foil::registry::DataFacts;

    #[test]
    fn has_as_many_parameters_as_the_papers() {
        assert_eq!(count("preact_resnet18", CIFAR10), 11_172_170);
        assert_eq!(count("preact_resnet18", CIFAR100), 11_218_340);
        assert_eq!(count("{ type: preact_resnet18, final_norm: false }", CIFAR10), 11_171_146);
    }

    #[test]
    fn images_too_small_are_reported() {
        let tiny = DataFacts { height: 4, ..CIFAR10 };
        assert_eq!(
            problems("preact_resnet18", tiny),
            [
                "`model` takes images of at least 8 x 8; the data's are 3 x 4 x 32 (channels, height, width) (`small_cnn` takes images of any size)"
            ]
        );
    }

    #[test]
    fn its_own_input_gradient_is_autograds() {
        assert_own_gradient("preact_resnet18", CIFAR10);
        assert_own_gradient("{ type: preact_resnet18, final_norm: false }", CIFAR10);
    }
}
