//! ResNet-18: the smaller CIFAR network of TRADES, MART and FAT.

use crate::blocks::{BasicBlock, resnet18_stages};
use crate::shape;
use foil::prelude::*;

/// ResNet-18 for small images (He et al. 2015, arXiv:1512.03385). 11,173,962 parameters on CIFAR-10.
///
/// conv 64 without pooling, batch norm, ReLU, four stages of two blocks (64, 128, 256, 512 channels; strides 1, 2, 2, 2), mean
/// over the image, linear. Names are those of TRADES, MART and FAT. All start as PyTorch's layers do.
#[settings]
pub struct Resnet18 {}

/// Everything up to the last block: `[N, C, H, W]` to `[N, 512, H/8, W/8]`.
pub(crate) struct Trunk {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    blocks: Vec<BasicBlock>,
}

impl Trunk {
    pub(crate) fn new(nn: &Builder, inputs: i64) -> Self {
        Self {
            conv1: Conv2d::without_bias(nn, "conv1", [inputs, 64], 3, 1, 1),
            bn1: BatchNorm2d::new(nn, "bn1", 64),
            blocks: resnet18_stages(nn, BasicBlock::new),
        }
    }

    pub(crate) fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let xs = nn::relu(self.bn1.forward(pass, &self.conv1.forward(pass, xs)));
        self.blocks.iter().fold(xs, |xs, block| block.forward(pass, &xs))
    }
}

struct Net {
    trunk: Trunk,
    linear: Linear,
}

impl Config<dyn Model> for Resnet18 {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        shape::require_eight_pixels(cx);
        let nn = cx.builder();
        let trunk = Trunk::new(nn, cx.inputs());
        Ok(Box::new(Net { trunk, linear: Linear::new(nn, "linear", 512, cx.data.classes) }))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        self.linear.forward(pass, &nn::global_average(&self.trunk.forward(pass, xs)))
    }
}

register!(dyn Model, "resnet18", Resnet18, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{CIFAR10, count};

    #[test]
    fn has_as_many_parameters_as_the_papers() {
        assert_eq!(count("resnet18", CIFAR10), 11_173_962);
    }
}
