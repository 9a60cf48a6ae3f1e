//! Random crops and mirror images, batched on the device and keyed by image.

use crate::nn::Noise;
use foil_macros::settings;
use tch::{Kind, Tensor};

/// The border added to an image before it is cropped.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Padding {
    /// Black: TRADES, MART, FAT.
    Zero,
    /// The image mirrored at its edge pixels, which are not repeated: robust_overfitting, CAT, MMA.
    Reflect,
}

/// Pixels that are moved: a random crop, then a random mirror image, one draw per image and epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// Pixels added on each side before a crop of the original size.
    pub pad: i64,
    /// The border's content.
    pub padding: Padding,
    /// Whether half of the images are mirrored.
    pub flip: bool,
}

impl Shift {
    /// This one and then `next` in one, if that is the same: a crop and then a mirror image.
    #[must_use]
    pub fn then(self, next: Self) -> Option<Self> {
        (!self.flip && next.pad == 0).then_some(Self { flip: next.flip, ..self })
    }

    /// Crops and flips `xs` `[N, C, H, W]` of any kind; `noise` is keyed by image.
    pub fn apply(&self, xs: &Tensor, noise: &Noise) -> Tensor {
        let (n, c, h, w) = xs.size4().unwrap_or((0, 0, 0, 0));
        let along = |length| Tensor::arange(length, (Kind::Int64, xs.device()));
        let shift = |name| noise.below(name, 2 * self.pad + 1, &[1]) - self.pad;
        let rows: Tensor = along(h) + shift("crop.y");
        let columns = along(w);
        let columns = if self.flip {
            let mirrored = noise.below("flip", 2, &[1]);
            // Mirrored rows read column w - 1 - column.
            &columns * (1 - &mirrored * 2) + &mirrored * (w - 1)
        } else {
            columns.unsqueeze(0).expand([n, w], false)
        };
        let columns = columns + shift("crop.x");
        let (row_index, row_inside) = self.source(&rows, h);
        let (column_index, column_inside) = self.source(&columns, w);
        let xs = xs.gather(2, &row_index.view([n, 1, h, 1]).expand([n, c, h, w], false), false);
        let xs = xs.gather(3, &column_index.view([n, 1, 1, w]).expand([n, c, h, w], false), false);
        match self.padding {
            Padding::Zero => {
                &xs * (row_inside.view([n, 1, h, 1]) * column_inside.view([n, 1, 1, w])).to_kind(xs.kind())
            }
            Padding::Reflect => xs,
        }
    }

    /// The source of each padded position, and whether it is inside the image (`[N, length]`
    /// each).
    fn source(&self, positions: &Tensor, length: i64) -> (Tensor, Tensor) {
        let inside = positions.ge(0).logical_and(&positions.lt(length)).to_kind(Kind::Int64);
        let from = match self.padding {
            Padding::Zero => positions.clamp(0, length - 1),
            // -1 is 1, length is length - 2.
            Padding::Reflect => (length - 1) - ((length - 1) - positions.abs()).abs(),
        };
        (from, inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Every crop of the padded image, flipped or not, made with libtorch's own padding.
    fn possible(image: &Tensor, shift: &Shift) -> Vec<Tensor> {
        let p = shift.pad;
        let padded = match shift.padding {
            Padding::Zero => image.constant_pad_nd([p, p, p, p]),
            Padding::Reflect => image.reflection_pad2d([p, p, p, p]),
        };
        let (h, w) = (image.size()[1], image.size()[2]);
        let mut all = Vec::new();
        for y in 0..=2 * p {
            for x in 0..=2 * p {
                let crop = padded.narrow(1, y, h).narrow(2, x, w);
                all.extend([crop.flip([2]), crop]);
            }
        }
        all
    }

    #[test]
    fn gives_crops_of_the_padded_image_flipped_or_not() {
        for padding in [Padding::Zero, Padding::Reflect] {
            let shift = Shift { pad: 2, padding, flip: true };
            let images = Tensor::rand([64, 3, 6, 5], (Kind::Float, Device::Cpu));
            let out = shift.apply(&images, &Noise::seeded(&[1], 64, Device::Cpu));
            let mut seen = std::collections::BTreeSet::new();
            for i in 0..64 {
                let place = possible(&images.get(i), &shift).iter().position(|crop| crop == &out.get(i));
                seen.insert(place.expect("not a crop of the padded image"));
            }
            assert!(seen.len() > 20, "only {} of 50 variants in 64 draws", seen.len());
        }
    }

    #[test]
    fn nothing_to_do_leaves_images_alone() {
        let images = Tensor::rand([3, 1, 4, 4], (Kind::Float, Device::Cpu));
        let shift = Shift { pad: 0, padding: Padding::Zero, flip: false };
        assert_eq!(shift.apply(&images, &Noise::seeded(&[1], 3, Device::Cpu)), images);
    }

    #[test]
    fn a_crop_and_a_mirror_image_in_one_are_the_same() {
        let images = Tensor::rand([64, 3, 6, 5], (Kind::Float, Device::Cpu));
        let noise = Noise::seeded(&[1], 64, Device::Cpu);
        let crop = Shift { pad: 2, padding: Padding::Reflect, flip: false };
        let flip = Shift { pad: 0, padding: Padding::Zero, flip: true };
        let both = crop.then(flip).unwrap();
        assert_eq!(both.apply(&images, &noise), flip.apply(&crop.apply(&images, &noise), &noise));
        assert_eq!((flip.then(crop), crop.then(crop), both.then(flip)), (None, None, None));
    }
}
