//! Operations by name, each on the images that chose it.

use crate::affine::{but_for, cubic, nearest, rotation};
use crate::blend::{brightness, colour, contrast, sharpness};
use crate::hue::hue;
use crate::tables::{autocontrast, equalize, invert, posterize, solarize};
use foil::prelude::*;

/// An operation on bytes; what its number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Leaves the image as it is.
    Identity,
    /// How far to the right each pixel comes from, for each pixel down.
    ShearX,
    /// How far below each pixel comes from, for each pixel to the right.
    ShearY,
    /// How far to the right each pixel comes from.
    TranslateX,
    /// How far below each pixel comes from.
    TranslateY,
    /// Degrees against the clock.
    Rotate,
    /// A factor.
    Brightness,
    /// A factor.
    Colour,
    /// A factor.
    Contrast,
    /// A factor.
    Sharpness,
    /// A share of the circle of hues.
    Hue,
    /// Bits that are kept.
    Posterize,
    /// The first byte that is inverted.
    Solarize,
    /// Stretches each channel.
    Autocontrast,
    /// Makes each channel's histogram even.
    Equalize,
    /// Inverts each byte.
    Invert,
}

/// How pixels are found that an operation moves.
#[derive(Debug, Clone, Copy)]
pub struct Moving {
    /// Whether shearing interpolates; the others take the nearest pixel.
    pub cubic_shear: bool,
    /// What comes from outside of the image.
    pub fill: i64,
}

impl Op {
    /// What the operation makes of all images `[N, C, H, W]`, of which each has its `amount`
    /// `[N, 1]`.
    fn of(self, images: &Tensor, amount: &Tensor, moving: Moving) -> Tensor {
        let (height, width) = (images.size()[2], images.size()[3]);
        let factor = amount.view([-1, 1, 1, 1]);
        let shear = |at| match moving.cubic_shear {
            true => cubic(images, &but_for(at, amount), moving.fill),
            false => nearest(images, &but_for(at, amount), moving.fill),
        };
        match self {
            Self::Identity => images.shallow_clone(),
            Self::ShearX => shear(1),
            Self::ShearY => shear(3),
            Self::TranslateX => nearest(images, &but_for(2, amount), moving.fill),
            Self::TranslateY => nearest(images, &but_for(5, amount), moving.fill),
            Self::Rotate => nearest(images, &rotation(amount, height, width), moving.fill),
            Self::Brightness => brightness(images, &factor),
            Self::Colour => colour(images, &factor),
            Self::Contrast => contrast(images, &factor),
            Self::Sharpness => sharpness(images, &factor),
            Self::Hue => hue(images, &factor),
            Self::Posterize => posterize(images, &factor),
            Self::Solarize => solarize(images, &factor),
            Self::Autocontrast => autocontrast(images),
            Self::Equalize => equalize(images),
            Self::Invert => invert(images),
        }
    }
}

/// Each image changed by the operation that it `chose` `[N, 1]`, a number in `ops`; those that
/// chose none of them, such as -1, stay as they are. Each operation comes with the amounts `[N,
/// 1]`.
///
/// All operations run on all images, since which ones choose one is known on the device only.
pub fn by_choice(images: &Tensor, chose: &Tensor, ops: &[(Op, Tensor)], moving: Moving) -> Tensor {
    let mut changed = images.shallow_clone();
    for (number, (op, amount)) in (0i64..).zip(ops).filter(|(_, (op, _))| *op != Op::Identity) {
        let chosen = chose.eq(number).view([-1, 1, 1, 1]);
        changed = op.of(images, amount, moving).where_self(&chosen, &changed);
    }
    changed
}

/// Reports images that have no colours to change.
pub fn need_colours(cx: &Build) {
    if ![1, 3].contains(&cx.data.channels) {
        let message =
            format!("is for grey images and for red, green and blue, but these have {} channels", cx.data.channels);
        cx.problem("", message, "leave it out, or read the images in colour");
    }
}
