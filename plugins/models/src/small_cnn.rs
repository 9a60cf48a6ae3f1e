//! The MNIST network of the CAT paper, first used in Kolter & Madry's adversarial-robustness tutorial (NeurIPS 2018).

use foil::prelude::*;

/// Four convolutions and two linear layers: the MNIST network of the CAT paper. 379,702 parameters on 28 x 28 digits.
///
/// conv 32, conv 32 stride 2, conv 64, conv 64 stride 2 (3 x 3, padding 1, ReLU after each), linear 100, ReLU, linear.
/// Names are those of its `nn.Sequential`.
#[settings]
pub struct SmallCnn {}

struct Net {
    convs: [Conv2d; 4],
    hidden: Linear,
    out: Linear,
}

impl Config<dyn Model> for SmallCnn {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        let quarter = |pixels: i64| (pixels + 3) / 4;
        let features = 64 * quarter(cx.data.height) * quarter(cx.data.width);
        let nn = cx.builder();
        Ok(Box::new(Net {
            convs: [
                Conv2d::new(nn, "0", [cx.data.channels, 32], 3, 1, 1),
                Conv2d::new(nn, "2", [32, 32], 3, 2, 1),
                Conv2d::new(nn, "4", [32, 64], 3, 1, 1),
                Conv2d::new(nn, "6", [64, 64], 3, 2, 1),
            ],
            hidden: Linear::new(nn, "9", features, 100),
            out: Linear::new(nn, "11", 100, cx.data.classes),
        }))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let features = self.convs.iter().fold(xs.shallow_clone(), |xs, conv| nn::relu(conv.forward(pass, &xs)));
        let hidden = nn::relu(self.hidden.forward(pass, &features.flatten(1, -1)));
        self.out.forward(pass, &hidden)
    }
}

register!(dyn Model, "small_cnn", SmallCnn, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{MNIST, count};

    #[test]
    fn has_as_many_parameters_as_the_paper() {
        assert_eq!(count("small_cnn", MNIST), 379_702);
    }
}
