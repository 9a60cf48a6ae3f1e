//! Pictures of images under attack: digits, attacked digits, perturbations and masks, with the
//! model's predictions beneath.
//!
//! A [`Grid`] of [`Image`]s under column headings and beside row labels becomes a PNG. Each image
//! is enlarged without smoothing, so that every pixel of a 28x28 digit stays a square. [`Palette`]
//! maps its values to colours; [`Caption`] writes beneath it, in green where the model is right
//! and in red where it is wrong.

mod canvas;
mod grid;
mod image;
mod palette;
mod plan;

pub use grid::{Caption, Grid, GridRow, Picture, Tone};
pub use image::{Image, PictureError, shown_channels};
pub use palette::Palette;
