//! A random crop.

use foil::data::{Padding, Shift};
use foil::prelude::*;

/// A random crop of the padded image, of the image's own size: one draw per image and epoch.
///
/// The usual augmentation of CIFAR, together with `flip`: `augment: [crop, flip]`.
#[settings]
pub struct Crop {
    /// Pixels added on each side before the crop.
    #[set(default = 4, range = 0..=64, unit = "pixels")]
    pub pad: i64,
    /// What the border is filled with.
    #[set(default = Padding::Zero)]
    pub padding: Padding,
}

impl Crop {
    fn as_shift(&self) -> Shift {
        Shift { pad: self.pad, padding: self.padding, flip: false }
    }
}

impl Augment for Crop {
    fn images(&self, images: &Tensor, noise: &Noise) -> Result<Tensor> {
        Ok(self.as_shift().apply(images, noise))
    }

    fn shift(&self) -> Option<Shift> {
        Some(self.as_shift())
    }

    fn check(&self, cx: &Build) {
        let side = cx.data.height.min(cx.data.width);
        if self.padding == Padding::Reflect && self.pad >= side {
            let message =
                format!("is {}, but an image of {side} pixels reflects at most {} of them", self.pad, side - 1);
            cx.problem("pad", message, "pad less, or with `padding: zero`");
        }
    }
}

register!(dyn Augment, "crop", Crop, "{ pad: 4, padding: reflect }");
