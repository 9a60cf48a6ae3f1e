//! AutoAugment's policy for CIFAR-10.

use crate::ops::{Moving, Op, by_choice, need_colours};
use foil::prelude::*;

/// Applies one of 25 pairs of operations to each image: the policy that AutoAugment found for
/// CIFAR-10 (Cubuk et al. 2019, arXiv:1805.09501, appendix), as DM-Improves-AT and DKL have it.
///
/// Each operation is done with its own probability. Signs of shears, translations and of changes of
/// colour, contrast, brightness and sharpness are random; rotations turn against the clock. Shears
/// interpolate (PIL's `BICUBIC`), and what comes from outside of the image is grey, 128. Crop and
/// flip before it, and cut out after it: `augment: [crop, flip, autoaugment, { type: cutout, size:
/// 18 }]`.
#[settings]
pub struct AutoAugment {}

/// An operation, its probability in tenths, and its level from 0 to 9.
type Entry = (Op, u8, u8);

const POLICY: [[Entry; 2]; 25] = {
    use Op::{
        Autocontrast, Brightness, Colour, Contrast, Equalize, Invert, Posterize, Rotate, Sharpness, ShearY, Solarize,
        TranslateX, TranslateY,
    };
    [
        [(Invert, 1, 7), (Contrast, 2, 6)],
        [(Rotate, 7, 2), (TranslateX, 3, 9)],
        [(Sharpness, 8, 1), (Sharpness, 9, 3)],
        [(ShearY, 5, 8), (TranslateY, 7, 9)],
        [(Autocontrast, 5, 0), (Equalize, 9, 0)],
        [(ShearY, 2, 7), (Posterize, 3, 7)],
        [(Colour, 4, 3), (Brightness, 6, 7)],
        [(Sharpness, 3, 9), (Brightness, 7, 9)],
        [(Equalize, 6, 0), (Equalize, 5, 0)],
        [(Contrast, 6, 7), (Sharpness, 6, 5)],
        [(Colour, 7, 7), (TranslateX, 5, 8)],
        [(Equalize, 3, 0), (Autocontrast, 4, 0)],
        [(TranslateY, 4, 3), (Sharpness, 2, 6)],
        [(Brightness, 9, 6), (Colour, 2, 8)],
        [(Solarize, 5, 2), (Invert, 0, 3)],
        [(Equalize, 2, 0), (Autocontrast, 6, 0)],
        [(Equalize, 2, 0), (Equalize, 6, 0)],
        [(Colour, 9, 9), (Equalize, 6, 0)],
        [(Autocontrast, 8, 0), (Solarize, 2, 8)],
        [(Brightness, 1, 3), (Colour, 7, 0)],
        [(Solarize, 4, 5), (Autocontrast, 9, 0)],
        [(TranslateY, 9, 9), (TranslateY, 7, 9)],
        [(Autocontrast, 9, 0), (Solarize, 8, 3)],
        [(Equalize, 8, 0), (Invert, 1, 0)],
        [(TranslateY, 7, 9), (Autocontrast, 9, 0)],
    ]
};

/// The number of an operation at `level`, and whether its sign is random.
fn amount(op: Op, level: f64, [height, width]: [i64; 2]) -> (f64, bool) {
    let share = level / 9.0;
    match op {
        Op::ShearX | Op::ShearY => (0.3 * share, true),
        Op::TranslateX => (150.0 / 331.0 * share * width as f64, true),
        Op::TranslateY => (150.0 / 331.0 * share * height as f64, true),
        Op::Rotate => (30.0 * share, false),
        Op::Brightness | Op::Colour | Op::Contrast | Op::Sharpness => (0.9 * share, true),
        Op::Posterize => ((8.0 - 4.0 * share).round_ties_even(), false),
        Op::Solarize => (256.0 - 256.0 * share, false),
        _ => (0.0, false),
    }
}

/// The operations of one place of the pairs, each once.
fn operations(place: usize) -> Vec<Op> {
    foil::distinct(POLICY.iter().map(|pair| pair[place].0))
}

impl Augment for AutoAugment {
    fn images(&self, images: &Tensor, noise: &Noise) -> Result<Tensor> {
        let (_, _, height, width) = images.size4()?;
        let pair = noise.below("autoaugment.pair", POLICY.len() as i64, &[1]);
        let mut images = images.shallow_clone();
        for place in 0..2 {
            let ops = operations(place);
            // What each pair says of this place, by the images' pairs.
            let said = |of: &dyn Fn(Entry) -> f64| {
                let table: Vec<f64> = POLICY.iter().map(|pair| of(pair[place])).collect();
                Tensor::from_slice(&table).to_device(images.device()).index_select(0, &pair.view(-1)).view([-1, 1])
            };
            let number = |entry: Entry| ops.iter().position(|op| *op == entry.0).map_or(-1.0, |number| number as f64);
            let (chose, probability) = (said(&number), said(&|entry| f64::from(entry.1) / 10.0));
            let happens =
                noise.uniform(&format!("autoaugment.happens.{place}"), &[1], Kind::Double).lt_tensor(&probability);
            let sign = noise.below(&format!("autoaugment.sign.{place}"), 2, &[1]).to_kind(Kind::Double) * 2.0 - 1.0;
            let amounts = ops.iter().map(|&op| {
                let of = |entry: Entry| amount(op, f64::from(entry.2), [height, width]);
                let size = said(&|entry| of(entry).0);
                let signed = if amount(op, 0.0, [height, width]).1 { size * &sign } else { size };
                let is_factor = [Op::Brightness, Op::Colour, Op::Contrast, Op::Sharpness].contains(&op);
                (op, if is_factor { signed + 1.0 } else { signed })
            });
            let amounts: Vec<(Op, Tensor)> = amounts.collect();
            let chose = chose.where_self(&happens, &chose.full_like(-1.0));
            images = by_choice(&images, &chose, &amounts, Moving { cubic_shear: true, fill: 128 });
        }
        Ok(images)
    }

    fn check(&self, cx: &Build) {
        need_colours(cx);
    }
}

register!(dyn Augment, "autoaugment", AutoAugment, "{}");
