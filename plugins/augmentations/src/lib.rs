//! Augmentations of training images, batched on the device.

mod affine;
mod autoaugment;
mod blend;
mod chance;
mod crop;
mod cutmix;
mod cutout;
mod erasing;
mod flip;
mod hue;
mod jitter;
mod mixup;
#[doc(hidden)]
pub mod ops;
mod randaugment;
mod tables;
mod window;
