//! The mask network g of the CAT paper for CIFAR (Table 6; activation order, resize and output from
//! the authors' code).

use crate::shape;
use crate::trunk::Trunk;
use foil::prelude::*;

/// The mask network g for CIFAR (CAT, Table 6): a mask in (0, 1) of the images' own size and
/// channels.
///
/// ResNet-18 without pooling and linear layer, nearest-neighbour resize to the image, conv to the
/// image's channels (3 x 3, padding 1), sigmoid. 11,182,659 parameters on CIFAR. Names are those of
/// the authors' code.
#[settings]
pub struct MaskResnet18 {}

struct Net {
    trunk: Trunk,
    out: Conv2d,
    size: [i64; 2],
}

impl Config<dyn Model> for MaskResnet18 {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        shape::require_eight_pixels(cx);
        let nn = cx.builder();
        Ok(Box::new(Net {
            trunk: Trunk::new(nn, cx.inputs()),
            out: Conv2d::new(nn, "conv2", [512, cx.data.channels], 3, 1, 1),
            size: [cx.data.height, cx.data.width],
        }))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let features = self.trunk.forward(pass, xs);
        self.out.forward(pass, &nn::nearest_resize(&features, self.size)).sigmoid()
    }

    fn is_mask(&self) -> bool {
        true
    }
}

register!(dyn Model, "mask_resnet18", MaskResnet18, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{CIFAR10, count, count_with_inputs};

    #[test]
    fn has_as_many_parameters_as_the_paper() {
        assert_eq!(count("mask_resnet18", CIFAR10), 11_182_659);
        assert_eq!(count_with_inputs("mask_resnet18", CIFAR10, 6), 11_184_387);
    }
}
