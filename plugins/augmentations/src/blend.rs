//! Brightness, contrast, colour and sharpness: an image moved away from a duller one, as PIL's
//! `ImageEnhance` does.
//!
//! Images are bytes `[N, C, H, W]` of one or three channels; factors `[N, 1, 1, 1]`, 1 leaves an
//! image as it is. PIL computes in fp32 and cuts off what is behind the point.

use foil::prelude::*;

/// PIL's `Image.blend`: dull + factor · (image - dull), cut off to bytes.
fn blend(images: &Tensor, dull: &Tensor, factor: &Tensor) -> Tensor {
    let [image, dull] = [images, dull].map(|t| t.to_kind(Kind::Float));
    let moved: Tensor = &dull + factor.to_kind(Kind::Float) * (image - &dull);
    moved.clamp(0.0, 255.0).floor().to_kind(Kind::Uint8)
}

/// PIL's grey of colours, `[N, 1, H, W]`: (19595 R + 38470 G + 7471 B + 0x8000) / 2^16, rounded
/// down.
pub fn grey(images: &Tensor) -> Tensor {
    if images.size()[1] == 1 {
        return images.shallow_clone();
    }
    let weights = Tensor::from_slice(&[19595i64, 38470, 7471]).to_device(images.device()).view([1, 3, 1, 1]);
    let sum = (images.to_kind(Kind::Int64) * weights).sum_dim_intlist([1i64].as_slice(), true, Kind::Int64);
    let sum: Tensor = sum + 0x8000i64;
    sum.bitwise_right_shift_tensor_scalar(16).to_kind(Kind::Uint8)
}

/// 0 is black.
pub fn brightness(images: &Tensor, factor: &Tensor) -> Tensor {
    blend(images, &images.zeros_like(), factor)
}

/// 0 is the grey of the image's mean.
pub fn contrast(images: &Tensor, factor: &Tensor) -> Tensor {
    let mean = grey(images).to_kind(Kind::Double).mean_dim([1i64, 2, 3].as_slice(), true, Kind::Double);
    let mean: Tensor = mean + 0.5;
    blend(images, &mean.floor(), factor)
}

/// 0 is the grey image.
pub fn colour(images: &Tensor, factor: &Tensor) -> Tensor {
    blend(images, &grey(images), factor)
}

/// 0 is the image smoothed by PIL's `SMOOTH`, (1 1 1, 1 5 1, 1 1 1) / 13, which leaves the border
/// as it is.
pub fn sharpness(images: &Tensor, factor: &Tensor) -> Tensor {
    let [_, _, height, width] = images.size()[..] else { return images.shallow_clone() };
    if height < 3 || width < 3 {
        return images.shallow_clone();
    }
    let whole = images.to_kind(Kind::Int64);
    let part = |y: i64, x: i64| whole.narrow(2, y, height - 2).narrow(3, x, width - 2);
    let mut sum: Tensor = part(1, 1) * 4i64;
    for (y, x) in (0..3).flat_map(|y| (0..3).map(move |x| (y, x))) {
        sum += part(y, x);
    }
    // Rounded: no multiple of 1/13 lies half-way between two bytes.
    let doubled: Tensor = sum * 2i64 + 13i64;
    let inner = doubled.divide_scalar_mode(26i64, "floor").to_kind(Kind::Uint8);
    let rows = Tensor::cat(
        &[
            &images.narrow(2, 1, height - 2).narrow(3, 0, 1),
            &inner,
            &images.narrow(2, 1, height - 2).narrow(3, width - 1, 1),
        ],
        3,
    );
    let smooth = Tensor::cat(&[&images.narrow(2, 0, 1), &rows, &images.narrow(2, height - 1, 1)], 2);
    blend(images, &smooth, factor)
}
