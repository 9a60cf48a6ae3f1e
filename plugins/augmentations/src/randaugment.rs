//! RandAugment.

use crate::ops::{Moving, Op, by_choice, need_colours};
use foil::prelude::*;

/// Applies some operations in a row to each image, each drawn from fourteen (Cubuk et al. 2020,
/// arXiv:1909.13719), as `torchvision.transforms.RandAugment` does with PIL's images.
///
/// Identity, shear and translation along each axis, rotation, brightness, colour, contrast,
/// sharpness, posterize, solarize, autocontrast, equalize. Moved pixels are the nearest ones, the
/// border is black.
#[settings]
pub struct RandAugment {
    /// Operations for each image.
    #[set(default = 2, range = 1..=8)]
    pub ops: u32,
    /// How strong they are, of `levels`.
    #[set(default = 9, range = 0..=1000)]
    pub magnitude: u32,
    /// The number of levels; the last one is the strongest.
    #[set(default = 31, range = 2..=1001)]
    pub levels: u32,
}

impl RandAugment {
    /// The operations and the sizes of their numbers; whether the sign is random.
    fn table(&self, height: i64, width: i64) -> [(Op, f64, bool); 14] {
        let share = f64::from(self.magnitude) / f64::from(self.levels - 1);
        let moved = |side: i64| (150.0 / 331.0 * side as f64 * share).trunc();
        let bits = 8.0 - (f64::from(self.magnitude) / (f64::from(self.levels - 1) / 4.0)).round_ties_even();
        [
            (Op::Identity, 0.0, false),
            (Op::ShearX, 0.3 * share, true),
            (Op::ShearY, 0.3 * share, true),
            (Op::TranslateX, moved(width), true),
            (Op::TranslateY, moved(height), true),
            (Op::Rotate, 30.0 * share, true),
            (Op::Brightness, 0.9 * share, true),
            (Op::Colour, 0.9 * share, true),
            (Op::Contrast, 0.9 * share, true),
            (Op::Sharpness, 0.9 * share, true),
            (Op::Posterize, bits, false),
            (Op::Solarize, 255.0 - 255.0 * share, false),
            (Op::Autocontrast, 0.0, false),
            (Op::Equalize, 0.0, false),
        ]
    }
}

impl Augment for RandAugment {
    fn images(&self, images: &Tensor, noise: &Noise) -> Result<Tensor> {
        let (_, _, height, width) = images.size4()?;
        let table = self.table(height, width);
        let mut images = images.shallow_clone();
        for turn in 0..self.ops {
            let chose = noise.below(&format!("randaugment.op.{turn}"), table.len() as i64, &[1]);
            let sign = noise.below(&format!("randaugment.sign.{turn}"), 2, &[1]).to_kind(Kind::Double) * 2.0 - 1.0;
            let amount = |(op, size, signed): (Op, f64, bool)| {
                let amount = if signed { &sign * size } else { sign.full_like(size) };
                let is_factor = [Op::Brightness, Op::Colour, Op::Contrast, Op::Sharpness].contains(&op);
                (op, if is_factor { amount + 1.0 } else { amount })
            };
            let ops = table.map(amount);
            images = by_choice(&images, &chose, &ops, Moving { cubic_shear: false, fill: 0 });
        }
        Ok(images)
    }

    fn check(&self, cx: &Build) {
        need_colours(cx);
        if self.magnitude >= self.levels {
            let message =
                format!("is {}, but the strongest of {} levels is {}", self.magnitude, self.levels, self.levels - 1);
            cx.problem("magnitude", message, "write a smaller one, or more `levels`");
        }
    }
}

register!(dyn Augment, "randaugment", RandAugment, "{ ops: 2, magnitude: 9 }");
