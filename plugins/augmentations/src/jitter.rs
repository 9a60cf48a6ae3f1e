//! Colour jitter.

use crate::ops::{Moving, Op, by_choice, need_colours};
use foil::prelude::*;

/// Changes brightness, contrast, saturation and hue by random amounts, in a random order for each
/// image, as `torchvision.transforms.ColorJitter` does with PIL's images.
///
/// Brightness, contrast and saturation are multiplied by factors uniform from max(0, 1 - b) to 1 +
/// b; the hue is turned by a share of the circle uniform from -h to h.
#[settings]
pub struct ColorJitter {
    /// The largest change b of the brightness.
    #[set(default = 0.0, range = 0.0..)]
    pub brightness: f64,
    /// The largest change b of the contrast.
    #[set(default = 0.0, range = 0.0..)]
    pub contrast: f64,
    /// The largest change b of the saturation.
    #[set(default = 0.0, range = 0.0..)]
    pub saturation: f64,
    /// The largest turn h of the hue.
    #[set(default = 0.0, range = 0.0..=0.5)]
    pub hue: f64,
}

impl Augment for ColorJitter {
    fn images(&self, images: &Tensor, noise: &Noise) -> Result<Tensor> {
        let ops = [
            (Op::Brightness, "jitter.brightness", self.brightness),
            (Op::Contrast, "jitter.contrast", self.contrast),
            (Op::Colour, "jitter.saturation", self.saturation),
            (Op::Hue, "jitter.hue", self.hue),
        ];
        let ops: Vec<(Op, Tensor)> = ops
            .into_iter()
            .filter(|(.., most)| *most > 0.0)
            .map(|(op, name, most)| {
                let (low, high) = if op == Op::Hue { (-most, most) } else { ((1.0 - most).max(0.0), 1.0 + most) };
                (op, noise.uniform(name, &[1], Kind::Double) * (high - low) + low)
            })
            .collect();
        if ops.is_empty() {
            return Ok(images.shallow_clone());
        }
        let order = noise.uniform("jitter.order", &[ops.len() as i64], Kind::Double).argsort(1, false);
        let mut images = images.shallow_clone();
        for place in 0..ops.len() as i64 {
            images = by_choice(&images, &order.narrow(1, place, 1), &ops, Moving { cubic_shear: false, fill: 0 });
        }
        Ok(images)
    }

    fn check(&self, cx: &Build) {
        need_colours(cx);
    }
}

register!(dyn Augment, "color_jitter", ColorJitter, "{ brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }");
