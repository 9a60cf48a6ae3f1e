//! One image, as a tensor holds it.

use thiserror::Error;

use super::palette::Palette;
use super::{Caption, Picture, Tone};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// An image, its palette, and its caption.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) values: Vec<f32>,
    pub(super) palette: Palette,
    pub(super) caption: Option<Caption>,
}

/// Errors of a picture.
#[derive(Debug, Error)]
pub enum PictureError {
    /// Neither grey nor colour.
    #[error("an image has {0} channels; 1 and 3 can be shown")]
    Channels(usize),
    /// The values do not fill the image.
    #[error("{channels}x{height}x{width} values were expected, {got} given")]
    Length {
        /// Channels.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Pixels in a row.
        width: usize,
        /// How many values there were.
        got: usize,
    },
    /// More than 64 million pixels.
    #[error("the picture would be {0}x{1} pixels; use fewer images or a smaller scale")]
    TooLarge(usize, usize),
    /// The file could not be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The PNG could not be made.
    #[error(transparent)]
    Png(#[from] png::EncodingError),
}

/// How many channels of an image a picture of it shows, the first ones: not its transparency.
pub fn shown_channels(channels: usize) -> usize {
    if channels < 3 { channels.min(1) } else { 3 }
}

impl Image {
    /// An image of `channels` (1 grey, 3 red, green, blue) times `height` times `width` values in
    /// that order, as in a torch tensor `[C, H, W]`.
    ///
    /// # Errors
    /// [`PictureError::Channels`] or [`PictureError::Length`].
    pub fn new(channels: usize, height: usize, width: usize, values: Vec<f32>) -> Result<Self, PictureError> {
        if channels != 1 && channels != 3 {
            return Err(PictureError::Channels(channels));
        }
        if height.checked_mul(width).and_then(|pixels| pixels.checked_mul(channels)) != Some(values.len()) {
            return Err(PictureError::Length { channels, height, width, got: values.len() });
        }
        Ok(Image { channels, height, width, values, palette: Palette::Plain, caption: None })
    }

    /// The same image, its numbers shown by `palette`.
    pub fn palette(self, palette: Palette) -> Self {
        Image { palette, ..self }
    }

    /// The same image with a line beneath it.
    pub fn caption(self, text: impl Into<String>, tone: Tone) -> Self {
        Image { caption: Some(Caption { text: text.into(), tone }), ..self }
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Its caption, if it has one.
    pub fn words(&self) -> Option<&Caption> {
        self.caption.as_ref()
    }

    /// The image by itself, a pixel a pixel, as a PNG in a URI.
    ///
    /// # Errors
    /// [`PictureError::Png`] for an image without pixels.
    pub fn data_uri(&self) -> Result<String, PictureError> {
        let pixels = (0..self.height).flat_map(|y| (0..self.width).flat_map(move |x| self.pixel(y, x)));
        let picture = Picture { width: self.width, height: self.height, rgb: pixels.collect() };
        Ok(format!("data:image/png;base64,{}", BASE64.encode(picture.png()?)))
    }

    /// The colour of a pixel.
    pub(crate) fn pixel(&self, y: usize, x: usize) -> [u8; 3] {
        let value = |channel: usize| self.values[(channel * self.height + y) * self.width + x];
        if self.channels == 1 {
            self.palette.grey(value(0))
        } else {
            self.palette.colour([value(0), value(1), value(2)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_checked() {
        assert!(Image::new(1, 2, 3, vec![0.0; 6]).is_ok());
        assert_eq!(
            Image::new(2, 1, 1, vec![0.0; 2]).unwrap_err().to_string(),
            "an image has 2 channels; 1 and 3 can be shown"
        );
        assert_eq!(Image::new(3, 2, 2, vec![0.0; 4]).unwrap_err().to_string(), "3x2x2 values were expected, 4 given");
        assert!(Image::new(3, usize::MAX, 2, vec![]).is_err());
    }

    #[test]
    fn channels_come_first() {
        let image = Image::new(3, 1, 2, vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0]).unwrap();
        assert_eq!([image.pixel(0, 0), image.pixel(0, 1)], [[255, 0, 0], [0, 255, 0]]);
    }
}
