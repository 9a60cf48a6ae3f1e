//! Operations that give each byte another one: PIL's `ImageOps`.
//!
//! Images are bytes `[N, C, H, W]`.

use foil::prelude::*;

/// 255 - x.
pub fn invert(images: &Tensor) -> Tensor {
    images.bitwise_not()
}

/// Inverts the bytes from `threshold` `[N, 1, 1, 1]` on.
pub fn solarize(images: &Tensor, threshold: &Tensor) -> Tensor {
    let whole = images.to_kind(Kind::Double);
    let inverted: Tensor = 255.0 - &whole;
    inverted.where_self(&whole.ge_tensor(threshold), &whole).to_kind(Kind::Uint8)
}

/// Keeps the highest `bits` `[N, 1, 1, 1]` of each byte.
pub fn posterize(images: &Tensor, bits: &Tensor) -> Tensor {
    let dropped: Tensor = 8.0 - bits.to_kind(Kind::Double);
    let step = dropped.exp2();
    let kept: Tensor = (images.to_kind(Kind::Double) / &step).floor() * step;
    kept.to_kind(Kind::Uint8)
}

/// Stretches each channel to 0 to 255.
pub fn autocontrast(images: &Tensor) -> Tensor {
    let whole = images.to_kind(Kind::Double);
    let dims = [2i64, 3].as_slice();
    let (low, high) = (whole.amin(dims, true), whole.amax(dims, true));
    let range = &high - &low;
    // Not `255.0 / range`, which is a product with the reciprocal: that is rounded twice.
    let scale: Tensor = range.full_like(255.0) / range;
    let offset: Tensor = &low * -1.0 * &scale;
    let stretched: Tensor = &whole * scale + offset;
    let stretched = stretched.clamp(0.0, 255.0).floor();
    stretched.where_self(&high.gt_tensor(&low), &whole).to_kind(Kind::Uint8)
}

/// Gives each channel an even histogram.
pub fn equalize(images: &Tensor) -> Tensor {
    let size = images.size();
    let rows = images.contiguous().to_kind(Kind::Int64).view([size[0] * size[1], -1]);
    let counts = Tensor::zeros([size[0] * size[1], 256], (Kind::Int64, images.device()));
    let counts = counts.scatter_add(1, &rows, &rows.ones_like());
    let last = rows.amax([1i64].as_slice(), true);
    let others: Tensor = rows.size()[1] - counts.gather(1, &last, false);
    let step = others.divide_scalar_mode(255i64, "floor");
    let before = counts.cumsum(1, Kind::Int64) - &counts;
    let begun: Tensor = before + step.divide_scalar_mode(2i64, "floor");
    let table = begun.divide_tensor_mode(&step.clamp_min(1), "floor").clamp_max(255);
    // A step of 0, as of an image of one colour, leaves the channel as it is.
    let even = table.gather(1, &rows, false).where_self(&step.gt(0), &rows);
    even.view(size.as_slice()).to_kind(Kind::Uint8)
}
