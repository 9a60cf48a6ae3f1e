//! From pictures in files to images of one size.

use super::walk::{Picture, refused};
use foil::data::Reading;
use foil::{Error, Result, regular, settings};
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbaImage};
use std::io::Cursor;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How a picture of another shape becomes an image of the size that was asked for.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Fit {
    /// The picture is made as small or large as covers the image, and its middle is kept.
    Crop,
    /// The picture is stretched to the image's shape.
    Stretch,
    /// A picture of another size is refused.
    Exact,
}

/// What lies behind transparent pixels of a picture, where the images have no transparency.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Alpha {
    /// A picture with a transparent pixel is refused.
    Refuse,
    /// White.
    White,
    /// Black.
    Black,
}

/// Bytes of a picture's file.
const LONGEST: u64 = 256 << 20;
/// Pixels along a side of a picture.
const WIDEST: u32 = 1 << 15;
/// Bytes that a decoder may take for itself: a small file can claim to be a huge picture.
const MOST: u64 = 256 << 20;

/// Decodes all pictures, in parallel: `[n, channels, height, width]`, in their order.
///
/// # Errors
/// With every picture that cannot be used, and why.
pub fn all(pictures: &[&Picture], image: [usize; 3], fit: Fit, alpha: Alpha, progress: &Reading) -> Result<Vec<u8>> {
    let size: usize = image.iter().product();
    let whole = size.checked_mul(pictures.len()).filter(|&n| n <= isize::MAX as usize);
    let mut pixels = vec![0; whole.ok_or_else(|| Error::new("the folder has too many pictures for this size"))?];
    progress.expect(pictures.len() as u64);
    let wrong = Mutex::new(Vec::new());
    let work = Mutex::new(pictures.iter().zip(pixels.chunks_mut(size)));
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((picture, out)) = next() {
                    if let Err(error) = one(&picture.path, image, fit, alpha, out) {
                        let line = format!("{}: {}", picture.path.display(), error.message());
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    }
                    progress.advance(1);
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    wrong.sort();
    refused(&wrong, "cannot be read", "repair these files, or move them out of the folder")?;
    Ok(pixels)
}

/// Decodes one picture into `out` `[channels, height, width]`.
fn one(path: &Path, image: [usize; 3], fit: Fit, alpha: Alpha, out: &mut [u8]) -> Result<()> {
    let bytes = regular::read(path, LONGEST).map_err(Error::of)?;
    decode(&bytes, image, fit, alpha, out)
}

/// Decodes a picture from its file's bytes into `out` `[channels, height, width]`.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8], image: [usize; 3], fit: Fit, alpha: Alpha, out: &mut [u8]) -> Result<()> {
    let picture = decoded(bytes)?;
    let [channels, height, width] = image;
    let picture = opaque(picture, channels, alpha)?;
    let picture = fitted(picture, width as u32, height as u32, fit)?;
    for (at, pixel) in picture.pixels().enumerate() {
        let [r, g, b, a] = pixel.0;
        match channels {
            1 => out[at] = grey(r, g, b),
            _ => [r, g, b, a].into_iter().take(channels).enumerate().for_each(|(channel, value)| {
                out[channel * height * width + at] = value;
            }),
        }
    }
    Ok(())
}

/// The picture in a file, turned upright as its EXIF data say; palettes and grey become colour.
fn decoded(bytes: &[u8]) -> Result<DynamicImage> {
    let unreadable = |error: image::ImageError| Error::new(error.to_string());
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(Error::of)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(WIDEST);
    limits.max_image_height = Some(WIDEST);
    limits.max_alloc = Some(MOST);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    decoder.set_limits(limits).map_err(unreadable)?;
    if decoder.total_bytes() > MOST {
        return Err(Error::new(format!("it would take {} bytes, expected at most {MOST}", decoder.total_bytes())));
    }
    let orientation = decoder.orientation().map_err(unreadable)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// As red, green, blue and transparency; transparent pixels only where they are kept.
fn opaque(picture: DynamicImage, channels: usize, alpha: Alpha) -> Result<RgbaImage> {
    let has_alpha = picture.color().has_alpha();
    let mut picture = picture.into_rgba8();
    if !has_alpha || channels == 4 || picture.pixels().all(|pixel| pixel.0[3] == 255) {
        return Ok(picture);
    }
    let behind = match alpha {
        Alpha::Refuse => {
            return Err(Error::new("it has transparent pixels; write `alpha: white`, `alpha: black` or `channels: 4`"));
        }
        Alpha::White => 255,
        Alpha::Black => 0,
    };
    for pixel in picture.pixels_mut() {
        let [.., a] = pixel.0;
        let over = |value: u8| {
            let mixed = u32::from(value) * u32::from(a) + behind * u32::from(255 - a);
            ((mixed + 127) / 255) as u8
        };
        let [r, g, b, _] = pixel.0;
        pixel.0 = [over(r), over(g), over(b), 255];
    }
    Ok(picture)
}

/// A picture of the image's size. Where it shrinks, each pixel is a weighted mean of those below
/// it (a triangle as wide as the pixel), as in PIL's bilinear filter.
fn fitted(picture: RgbaImage, width: u32, height: u32, fit: Fit) -> Result<RgbaImage> {
    let (own_width, own_height) = picture.dimensions();
    if (own_width, own_height) == (width, height) {
        return Ok(picture);
    }
    let scaled = |width, height| imageops::resize(&picture, width, height, FilterType::Triangle);
    match fit {
        Fit::Stretch => Ok(scaled(width, height)),
        Fit::Exact => Err(Error::new(format!("it has {own_height} x {own_width} pixels, expected {height} x {width}"))),
        Fit::Crop => {
            let ratio = (f64::from(width) / f64::from(own_width)).max(f64::from(height) / f64::from(own_height));
            let side = |own: u32, least: u32| ((f64::from(own) * ratio).round() as u32).max(least);
            let (whole_width, whole_height) = (side(own_width, width), side(own_height, height));
            // A picture that is far longer than it is wide would be scaled to more than is kept.
            if whole_width > WIDEST || whole_height > WIDEST {
                return Err(Error::new(format!(
                    "it has {own_height} x {own_width} pixels, which is too long to be cropped"
                )));
            }
            let whole = scaled(whole_width, whole_height);
            let (left, top) = ((whole_width - width) / 2, (whole_height - height) / 2);
            Ok(imageops::crop_imm(&whole, left, top, width, height).to_image())
        }
    }
}

/// Luma of ITU-R BT.601, rounded as PIL rounds it.
fn grey(r: u8, g: u8, b: u8) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests;
