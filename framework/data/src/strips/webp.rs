//! One strip: a lossless WebP image of `count` images under each other.

use crate::fault::{Fault, grouped};
use crate::records::Record;
use image_webp::{DecodingError, WebPDecoder};
use std::io::Cursor;

/// Write the pixels of each image into its record, plane by plane; the label bytes are left alone.
///
/// # Shapes
/// The strip is `[count * height, width, 3 or 4]` interleaved; `records` is `[count, label +
/// channels * height * width]`.
pub(super) fn decode(
    webp: &[u8],
    [channels, height, width]: [usize; 3],
    count: usize,
    record: Record,
    records: &mut [u8],
) -> Result<(), Fault> {
    let broken = |error: DecodingError| Fault::new("it cannot be decoded", error.to_string(), "a lossless WebP image");
    let mut decoder = WebPDecoder::new(Cursor::new(webp)).map_err(broken)?;
    let (found_width, found_height) = decoder.dimensions();
    if (found_width as usize, found_height as usize) != (width, count * height) {
        let found = format!("{} x {}", grouped(found_width as usize), grouped(found_height as usize));
        let expected = format!("{width} x {} (width x height, {count} images)", grouped(count * height));
        return Err(Fault::new("it has the wrong size", found, expected));
    }
    if decoder.is_animated() || decoder.is_lossy() {
        return Err(Fault::new("its pixels are not exact", "a lossy or animated image", "a lossless WebP image"));
    }
    let samples = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; count * height * width * samples];
    decoder.read_image(&mut pixels).map_err(broken)?;
    if channels == 1 && pixels.chunks_exact(samples).any(|pixel| pixel[0] != pixel[1] || pixel[0] != pixel[2]) {
        return Err(Fault::new("it is not grey", "a coloured image", "one with red, green and blue alike"));
    }
    let images = pixels.chunks_exact(height * width * samples);
    for (image, out) in images.zip(records.chunks_exact_mut(record.length())) {
        let planes = out[record.label_bytes()..].chunks_exact_mut(height * width);
        for (channel, plane) in planes.enumerate() {
            for (value, pixel) in plane.iter_mut().zip(image.chunks_exact(samples)) {
                *value = pixel[channel];
            }
        }
    }
    Ok(())
}
