//! The MNIST network of Madry et al. 2018, which MMA also uses.

use crate::shape;
use foil::prelude::*;

/// The MNIST network of Madry et al. 2018 (arXiv:1706.06083) as MMA uses it. 3,274,634 parameters.
///
/// conv 32, max-pool 2, conv 64, max-pool 2 (5 x 5, padding 2, ReLU after each conv), linear 1024,
/// ReLU, linear. Names are those of advertorch, and all layers are initialised as PyTorch's are,
/// as there.
#[settings]
pub struct Lenet5Madry {}

struct Net {
    conv1: Conv2d,
    conv2: Conv2d,
    linear1: Linear,
    linear2: Linear,
}

impl Config<dyn Model> for Lenet5Madry {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        shape::require_digits(cx);
        let nn = cx.builder();
        Ok(Box::new(Net {
            conv1: Conv2d::new(nn, "conv1", [1, 32], 5, 1, 2),
            conv2: Conv2d::new(nn, "conv2", [32, 64], 5, 1, 2),
            linear1: Linear::new(nn, "linear1", 64 * 7 * 7, 1024),
            linear2: Linear::new(nn, "linear2", 1024, cx.data.classes),
        }))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let xs = nn::max_pool2(&nn::relu(self.conv1.forward(pass, xs)));
        let xs = nn::max_pool2(&nn::relu(self.conv2.forward(pass, &xs)));
        let hidden = nn::relu(self.linear1.forward(pass, &xs.flatten(1, -1)));
        pass.feature("penultimate", &hidden);
        self.linear2.forward(pass, &hidden)
    }
}

register!(dyn Model, "lenet5_madry", Lenet5Madry, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{CIFAR10, MNIST, count, problems};

    #[test]
    fn has_as_many_parameters_as_the_paper() {
        assert_eq!(count("lenet5_madry", MNIST), 3_274_634);
    }

    #[test]
    fn colour_images_are_reported() {
        assert!(problems("lenet5_madry", CIFAR10)[0].starts_with("`model` takes grey images of 28 x 28"));
    }
}
