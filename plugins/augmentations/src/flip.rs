//! A random mirror image.

use foil::data::{Padding, Shift};
use foil::prelude::*;

/// Mirrors half of the images, left to right.
#[settings]
pub struct Flip {}

const MIRROR: Shift = Shift { pad: 0, padding: Padding::Zero, flip: true };

impl Augment for Flip {
    fn images(&self, images: &Tensor, noise: &Noise) -> Result<Tensor> {
        Ok(MIRROR.apply(images, noise))
    }

    fn shift(&self) -> Option<Shift> {
        Some(MIRROR)
    }
}

register!(dyn Augment, "flip", Flip, "{}");
