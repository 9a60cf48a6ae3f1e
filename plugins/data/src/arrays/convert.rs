//! From an array's numbers to images and labels.

use super::npy::{Header, Number};
use foil::data::Reading;
use foil::{Error, Result, settings};
use std::io::Read;

/// Where the channels are in an array of images.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Layout {
    /// Where one of the sizes shows it: the one that is 1, 3 or 4.
    Auto,
    /// `[n, height, width, channels]`: NumPy, PIL, TensorFlow.
    Nhwc,
    /// `[n, channels, height, width]`: PyTorch.
    Nchw,
}

/// How the images lie in an array.
#[derive(Debug, PartialEq, Eq)]
pub struct Order {
    /// `[channels, height, width]`.
    pub image: [usize; 3],
    /// Whether the channels of a pixel lie side by side.
    pub interleaved: bool,
}

/// The order of an array of images.
///
/// # Errors
/// When its shape is not that of images, or does not show where the channels are.
pub fn order(header: &Header, layout: Layout) -> Result<Order> {
    let shape = &header.shape;
    let is_channels = |n: usize| (1..=4).contains(&n) && n != 2;
    let (image, interleaved) = match (shape.as_slice(), layout) {
        (&[_, h, w], _) => ([1, h, w], false),
        (&[_, h, w, c], Layout::Nhwc) => ([c, h, w], true),
        (&[_, c, h, w], Layout::Nchw) => ([c, h, w], false),
        (&[_, a, b, c], Layout::Auto) => match (is_channels(a), is_channels(c)) {
            (true, false) => ([a, b, c], false),
            (false, true) => ([c, a, b], true),
            _ => {
                let message = format!("its shape {shape:?} does not show where the channels are");
                return Err(Error::new(message).help("write `layout: nhwc` or `layout: nchw`"));
            }
        },
        _ => {
            let message = format!("its shape is {shape:?}, expected [n, H, W, C], [n, C, H, W] or [n, H, W]");
            return Err(Error::new(message));
        }
    };
    let [channels, height, width] = image;
    if !(1..=4).contains(&channels) || !(1..=4096).contains(&height) || !(1..=4096).contains(&width) {
        let message =
            format!("its images are {channels} x {height} x {width}, expected 1 to 4 channels and sides up to 4,096");
        return Err(Error::new(message));
    }
    Ok(Order { image, interleaved })
}

/// What is called with each image: how many came before it, how many are left with it, and its
/// bytes `[channels, height, width]`.
type Each<'a> = dyn FnMut(usize, usize, &[u8]) -> Result<()> + 'a;

/// Calls `work` with the images, one after the other.
///
/// # Errors
/// As [`order`]; when there are fewer numbers than the header says, or one is out of range; those
/// of `work`.
pub fn each(header: &Header, from: &mut dyn Read, layout: Layout, work: &mut Each) -> Result<()> {
    let Order { image, interleaved } = order(header, layout)?;
    let (size, plane) = (image.iter().product::<usize>(), image[1] * image[2]);
    let width = header.number.bytes();
    let n = header.shape[0];
    let (mut raw, mut bytes, mut planes) = (vec![0; size * width], vec![0; size], vec![0; size]);
    for index in 0..n {
        from.read_exact(&mut raw)
            .map_err(|error| Error::new(format!("it is cut short: {index} of {n} images ({error})")))?;
        match header.number {
            Number::U8 => bytes.copy_from_slice(&raw),
            number => {
                for (value, out) in raw.chunks_exact(width).zip(&mut bytes) {
                    *out = byte(number, value).map_err(|error| error.context(format_args!("image {index}")))?;
                }
            }
        }
        if interleaved && image[0] > 1 {
            for (at, out) in planes.iter_mut().enumerate() {
                *out = bytes[at % plane * image[0] + at / plane];
            }
            work(index, n - index, &planes)?;
        } else {
            work(index, n - index, &bytes)?;
        }
    }
    Ok(())
}

/// The images, `[channels, height, width]` and their bytes `[n, channels, height, width]`.
///
/// # Errors
/// As [`each`].
pub fn images(
    header: &Header,
    from: &mut dyn Read,
    layout: Layout,
    progress: &Reading,
) -> Result<([usize; 3], Vec<u8>)> {
    let mut pixels = Vec::new();
    each(header, from, layout, &mut |before, left, image| {
        // Room as it is needed: the header may claim more images than there are.
        if pixels.capacity() - pixels.len() < image.len() {
            pixels.reserve_exact(image.len() * left.min(before / 16 + 4096));
        }
        pixels.extend_from_slice(image);
        progress.advance(1);
        Ok(())
    })?;
    Ok((order(header, layout)?.image, pixels))
}

/// A number in [0, 1], or a whole one from 0 to 255, as a byte.
fn byte(number: Number, bytes: &[u8]) -> Result<u8> {
    let value = number.value(bytes);
    match number {
        Number::Float(_) if (0.0..=1.0).contains(&value) => Ok((value * 255.0).round() as u8),
        Number::Float(_) => Err(Error::new(format!("{value} is not from 0 to 1"))
            .help("save images as uint8, or as floating-point numbers from 0 to 1")),
        _ if (0.0..=255.0).contains(&value) => Ok(value as u8),
        _ => Err(Error::new(format!("{value} is not from 0 to 255"))),
    }
}

/// The labels of an array `[n]` or `[n, 1]`.
///
/// # Errors
/// When its shape is another, or a label is not a whole number from 0 to 65,534.
pub fn labels(header: &Header, from: &mut dyn Read) -> Result<Vec<u16>> {
    let (&[n] | &[n, 1]) = header.shape.as_slice() else {
        let message = format!("its shape is {:?}, expected [n]: one label for each image", header.shape);
        return Err(Error::new(message).help("of probabilities, save numpy.argmax(p, 1)"));
    };
    let mut raw = Vec::new();
    from.read_to_end(&mut raw).map_err(|error| Error::new(format!("it is cut short: {error}")))?;
    let found = raw.len() / header.number.bytes();
    if found != n {
        return Err(Error::new(format!("it is cut short: {found} of {n} labels")));
    }
    let label = |(at, bytes): (usize, &[u8])| {
        let value = header.number.value(bytes);
        let wrong = || Error::new(format!("label {at} is {value}, expected a whole number from 0 to 65,534"));
        if value.fract() == 0.0 && (0.0..65_535.0).contains(&value) { Ok(value as u16) } else { Err(wrong()) }
    };
    raw.chunks_exact(header.number.bytes()).enumerate().map(label).collect()
}
