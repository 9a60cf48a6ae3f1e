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
pub struct MaskCnn {
    /// Channels of the first convolution; the others have twice as many.
    #[set(default = 64, range = 1..=1024)]
    pub width: i64,
}

struct Net {
    convs: [Conv2d; 3],
    out: Conv2d,
    size: [i64; 2],
}

impl Config<dyn Model> for MaskCnn {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        let (nn, narrow, wide) = (cx.builder(), self.width, 2 * self.width);
        Ok(Box::new(Net {
            convs: [
                Conv2d::new(nn, "0", [cx.inputs(), narrow], 3, 2, 1),
                Conv2d::new(nn, "2", [narrow, wide], 3, 1, 1),
                Conv2d::new(nn, "4", [wide, wide], 3, 1, 1),
            ],
            out: Conv2d::new(nn, "7", [wide, cx.data.channels], 3, 1, 1),
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
        // 9 (8 + 8·16 + 16² + 16) + 8 + 16 + 16 + 1
        assert_eq!(count("{ type: mask_cnn, width: 8 }", MNIST), 3_713);
    }
}
