//! The augmentation trait: what is done to training images before they are attacked.
//!
//! A pipeline lists augmentations, which run in that order on the device, a whole batch at once.
//! One kind changes single images, as bytes, before they are scaled to [0, 1]: [`Augment::images`].
//! The other mixes the images of a batch with each other, and their labels with them:
//! [`Augment::mix`]; these come last. An augmentation is one of both.

use crate::data::Shift;
use crate::nn::Noise;
use crate::registry::Build;
use crate::{Error, Result};
use tch::Tensor;

/// A batch whose images may be mixtures of several.
#[derive(Debug)]
pub struct Mixed {
    /// Images `[N, C, H, W]` in [0, 1].
    pub x: Tensor,
    /// Labels `[N, K]`: the share that each class has in an image; rows sum to 1.
    pub y: Tensor,
}

/// An augmentation of training images.
///
/// The contract: a fixed sequence of tensor operations without host reads or data-dependent shapes
/// (what concerns some of the images is a mask), in the order of the batch; randomness only from
/// `noise`. So a resumed run, and any number of processes, augment an image alike.
pub trait Augment: Send {
    /// Changes images `[N, C, H, W]`, bytes from 0 to 255; returns the same shape and kind. Each
    /// image is changed by itself: by its own rows of `noise`.
    ///
    /// # Errors
    /// When it cannot; tensor operations that fail are caught by the engine.
    fn images(&self, images: &Tensor, noise: &Noise) -> Result<Tensor> {
        let _ = (images, noise);
        Err(Error::new("it says neither what it does to single images nor that it mixes them")
            .help("write `images`, or `mixes` and `mix`"))
    }

    /// Whether it mixes images and labels: then [`Augment::mix`] is called in place of
    /// [`Augment::images`].
    fn mixes(&self) -> bool {
        false
    }

    /// Mixes the images of a batch with each other. With several processes each one mixes the whole
    /// batch, and trains on its share of the result. What the whole batch draws once comes from
    /// [`Noise::of_batch`].
    ///
    /// # Errors
    /// As [`Augment::images`].
    fn mix(&self, batch: Mixed, noise: &Noise) -> Result<Mixed> {
        let _ = noise;
        Ok(batch)
    }

    /// How often a batch is mixed, each time with other draws; the step trains on all the mixed
    /// batches together, which are as many images as the batch has times this.
    fn copies(&self) -> i64 {
        1
    }

    /// The same as [`Augment::images`] in words that the engine knows, if it can be said in them.
    /// The engine then does several at once.
    fn shift(&self) -> Option<Shift> {
        None
    }

    /// Reports settings that do not go together, or do not go with the images.
    fn check(&self, cx: &Build) {
        let _ = cx;
    }

    /// Whether it obeys the contract, so that it can be captured in a CUDA graph; see
    /// [`crate::attack::Attack::capturable`].
    fn capturable(&self) -> bool {
        true
    }
}
