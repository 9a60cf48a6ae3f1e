//! The mask network g of the CAT paper for MNIST (Table 5; strides, kernels and activations from
//! the authors' code).

use foil::prelude::*;

/// The mask network g for MNIST (CAT, Table 5): a mask in (0, 1) of the images' own size and
/// channels.
///
/// conv 64 stride 2, conv 128, conv 128 (3 x 3, padding 1, LeakyReLU 0.2 after each),
/// nearest-neighbour resize to the image, conv to the image's channels, sigmoid. 223,233 parameters
/// on one channel. Names are those of its `nn.Sequential`.
#[settings]
pub struct MaskCnn {}

struct Net {
    convs: [Conv2d; 3],
    out: Conv2d,
    size: [i64; 2],
}

impl Config<dyn Model> for MaskCnn {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        let nn = cx.builder();
        Ok(Box::new(Net {
            convs: [
                Conv2d::new(nn, "0", [cx.inputs(), 64], 3, 2, 1),
                Conv2d::new(nn, "2", [64, 128], 3, 1, 1),
                Conv2d::new(nn, "4", [128, 128], 3, 1, 1),
            ],
            out: Conv2d::new(nn, "7", [128, cx.data.channels], 3, 1, 1),
            size: [cx.data.height, cx.data.width],
        }))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let features =
            self.convs.iter().fold(xs.shallow_clone(), |xs, conv| nn::leaky_relu(conv.forward(pass, &xs), 0.2));
        self.out.forward(pass, &nn::nearest_resize(&features, self.size)).sigmoid()
    }

    fn is_mask(&self) -> bool {
        true
    }
}

register!(dyn Model, "mask_cnn", MaskCnn, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{MNIST, count, count_with_inputs};

    #[test]
    fn has_as_many_parameters_as_the_paper() {
        assert_eq!(count("mask_cnn", MNIST), 223_233);
        assert_eq!(count_with_inputs("mask_cnn", MNIST, 2), 223_809);
    }
}
