//! Images of an event file.

use foil::{Error, Result};
use tch::{Device, Kind, Tensor};

/// An image as it is stored.
#[derive(Debug)]
pub struct Png {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// 1 grey, 3 colour, 4 with transparency.
    pub channels: u32,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Pixels between two images of a strip.
const GAP: i64 = 1;

impl Png {
    /// A strip for each tensor, one below the other: `[N, C, H, W]` in [0, 1], all of one shape. Of
    /// images with 2 or more than 4 channels the first channel is shown.
    ///
    /// # Errors
    /// When there is no image.
    pub fn strips(rows: &[Tensor]) -> Result<Self> {
        let size = rows.first().map(Tensor::size).unwrap_or_default();
        let &[n, c, h, w] = size.as_slice() else { return Err(Error::new("there are no images to show")) };
        let shown = if [1, 3, 4].contains(&c) { c } else { 1 };
        let (height, width) = (rows.len() as i64 * (h + GAP) - GAP, n * (w + GAP) - GAP);
        let whole = Tensor::ones([shown, height, width], (Kind::Float, Device::Cpu));
        for (row, images) in (0..).zip(rows) {
            let images = images.to_device(Device::Cpu).to_kind(Kind::Float).narrow(1, 0, shown).clamp(0.0, 1.0);
            for column in 0..n {
                let place = whole.narrow(1, row * (h + GAP), h).narrow(2, column * (w + GAP), w);
                place.shallow_clone().copy_(&images.get(column));
            }
        }
        let pixels = (whole.permute([1, 2, 0]) * 255.0).round().to_kind(Kind::Uint8).contiguous().view([-1]);
        let (width, height, channels) = (width as u32, height as u32, shown as u32);
        let bytes = encoded(&Vec::<u8>::try_from(pixels)?, width, height, channels).map_err(Error::of)?;
        Ok(Self { width, height, channels, bytes })
    }
}

fn encoded(pixels: &[u8], width: u32, height: u32, channels: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rows_of_two_images_with_a_white_line_between() {
        let images = Tensor::from_slice(&[0.0f32, 0.2, 0.4, 2.0]).view([2, 1, 1, 2]);
        let png = Png::strips(&[images.shallow_clone(), images * 0.0]).unwrap();
        assert_eq!((png.width, png.height, png.channels), (5, 3, 1));
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png.bytes)).read_info().unwrap();
        let mut pixels = vec![0; 15];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [0, 51, 255, 102, 255, 255, 255, 255, 255, 255, 0, 0, 255, 0, 0]);
        assert!(Png::strips(&[]).is_err());
    }
}
