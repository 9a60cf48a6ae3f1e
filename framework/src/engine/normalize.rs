//! The normalisation before a network's first layer.

use foil_macros::settings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The normalisation of images in [0, 1] before the first layer; attacks and their radii stay in
/// [0, 1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Normalize {
    /// By name.
    Usual(Usual),
    /// With given numbers, as for imported models.
    Given(MeanStd),
}

/// Normalisations by name.
#[settings]
#[derive(PartialEq)]
pub enum Usual {
    /// Nothing: TRADES, MART, FAT and everything on MNIST.
    None,
    /// (x - mean) / std with the statistics of the data set's training images. Published code uses
    /// numbers that differ in the third or fourth digit; `configs/cifar10/base.yaml` has those of
    /// robust_overfitting and CAT.
    Data,
    /// Each image to mean 0 and variance 1 over all its N pixels and channels: MMA on CIFAR. As in
    /// its code (advertorch), the variance is divided by N - 1, and the deviation is at least
    /// 1/sqrt(N).
    PerImage,
}

/// (x - mean) / std, a number for each channel.
#[settings]
#[derive(PartialEq)]
pub struct MeanStd {
    /// What is subtracted from each channel, in [0, 1] image units.
    pub mean: Vec<f64>,
    /// What each channel is divided by after that, larger than 0.
    pub std: Vec<f64>,
}

impl Normalize {
    /// Nothing.
    pub const NONE: Self = Self::Usual(Usual::None);

    /// With these numbers, one for each channel.
    pub fn given(mean: Vec<f64>, std: Vec<f64>) -> Self {
        Self::Given(MeanStd { mean, std })
    }

    /// Whether it takes the data set's mean and standard deviation.
    pub fn is_of_data(&self) -> bool {
        *self == Self::Usual(Usual::Data)
    }

    /// What is subtracted and divided by; `mean` and `std` are the data set's.
    pub fn affine(&self, mean: &[f64], std: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
        match self {
            Self::Usual(Usual::Data) => Some((mean.to_vec(), std.to_vec())),
            Self::Usual(Usual::None | Usual::PerImage) => None,
            Self::Given(given) => Some((given.mean.clone(), given.std.clone())),
        }
    }

    /// Whether each image is normalised by itself.
    pub fn is_per_image(&self) -> bool {
        *self == Self::Usual(Usual::PerImage)
    }

    /// The problem for images with this many channels, if any: the key, the fault and the help.
    pub fn fault(&self, channels: i64) -> Option<(&'static str, String, &'static str)> {
        let Self::Given(MeanStd { mean, std }) = self else { return None };
        for (key, values) in [("mean", mean), ("std", std)] {
            if values.len() as i64 != channels {
                let message = format!("has {} numbers, but the images have {channels} channels", values.len());
                return Some((key, message, "write one for each channel"));
            }
        }
        let bad = std.iter().find(|std| std.is_nan() || **std <= 0.0);
        bad.map(|std| ("std", format!("has {std}, but is divided by"), "write numbers larger than 0"))
    }
}
