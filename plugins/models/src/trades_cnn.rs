//! TRADES's network for MNIST.

use crate::shape;
use foil::prelude::*;

/// The SmallCNN of TRADES for MNIST (Zhang et al. 2019; from the network of Carlini & Wagner 2017).
/// 312,202 parameters.
///
/// conv 32, conv 32, max-pool 2, conv 64, conv 64, max-pool 2 (3 x 3, no padding, ReLU after each
/// conv), linear 200, ReLU, dropout, linear 200, ReLU, linear. Convolutions start as N(0, 2/(9 ·
/// in)) (He et al. 2015) with bias 0, the last layer starts at zero, as in the authors' code, whose
/// names are used.
#[settings]
pub struct TradesCnn {
    /// Share of the first hidden layer that is dropped in train mode.
    #[set(default = 0.5, range = 0.0.., below = 1.0)]
    pub drop_rate: f64,
}

struct Net {
    convs: [Conv2d; 4],
    fc1: Linear,
    drop_rate: f64,
    fc2: Linear,
    fc3: Linear,
}

impl Config<dyn Model> for TradesCnn {
    fn build(&self, cx: &Build) -> Result<Box<dyn Model>> {
        shape::require_digits(cx);
        let nn = cx.builder();
        let conv = |name, channels| Conv2d::he_fan_in(nn, name, channels, 3, 1, 0);
        Ok(Box::new(Net {
            convs: [
                conv("feature_extractor.conv1", [1, 32]),
                conv("feature_extractor.conv2", [32, 32]),
                conv("feature_extractor.conv3", [32, 64]),
                conv("feature_extractor.conv4", [64, 64]),
            ],
            fc1: Linear::new(nn, "classifier.fc1", 64 * 4 * 4, 200),
            drop_rate: self.drop_rate,
            fc2: Linear::new(nn, "classifier.fc2", 200, 200),
            fc3: Linear::zero(nn, "classifier.fc3", 200, cx.data.classes),
        }))
    }
}

impl Model for Net {
    fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let [conv1, conv2, conv3, conv4] = &self.convs;
        let pair = |first: &Conv2d, second: &Conv2d, xs: &Tensor| {
            let xs = nn::relu(first.forward(pass, xs));
            nn::max_pool2(&nn::relu(second.forward(pass, &xs)))
        };
        let features = pair(conv3, conv4, &pair(conv1, conv2, xs));
        let hidden = nn::relu(self.fc1.forward(pass, &features.flatten(1, -1)));
        let hidden = nn::dropout(pass, &hidden, self.drop_rate);
        let hidden = nn::relu(self.fc2.forward(pass, &hidden));
        pass.feature("penultimate", &hidden);
        self.fc3.forward(pass, &hidden)
    }
}

register!(dyn Model, "trades_cnn", TradesCnn, "{}");

#[cfg(test)]
mod tests {
    use crate::testing::{CIFAR10, MNIST, count, problems};

    #[test]
    fn has_as_many_parameters_as_the_paper() {
        assert_eq!(count("trades_cnn", MNIST), 312_202);
    }

    #[test]
    fn colour_images_are_reported() {
        assert_eq!(
            problems("trades_cnn", CIFAR10),
            [
                "`model` takes grey images of 28 x 28; the data's are 3 x 32 x 32 (channels, height, width) (`preact_resnet18`, `resnet18` and `wide_resnet` take colour images)"
            ]
        );
    }
}
