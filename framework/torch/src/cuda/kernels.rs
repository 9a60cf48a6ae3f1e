//! The kernels of framework/cuda/kernels.cu, declared once.
//!
//! A declaration is a kernel's signature with what C leaves out: how many numbers it may touch
//! behind each pointer. It becomes a function that launches the kernel and checks each tensor's
//! kind, device, length and alignment first. A test compares the declarations with kernels.cu.
//!
//! - `input T[n]`, `output T[n]`: a tensor of at least n numbers without gaps, contiguous or
//!   channels-last. `T` is bf16 or fp32, the same for all of a launch. `Tx8`, `f32x8`: read in
//!   vectors of eight, so 16-byte aligned, and n is a multiple of eight.
//! - `maybe_input`, `maybe_output`: the same, or a null pointer.
//! - `int`, `long`, `float`: numbers, which lengths may be computed from, as from the blocks of the
//!   launch, `grid.x` and `grid.y`.
//! - `words`: a struct.
//! - `where`: what must hold besides.
//! - `[unsafe]`: the kernel also reads where tensors' numbers point, which nothing here can check.

#[macro_use]
mod declare;
#[cfg(test)]
mod tests;

use super::kernel::{Argument, Element, Grid, Pointer, launch};
use crate::{Error, Result};
use declare::InLength;
use tch::Tensor;

kernels! {
    with grid;

    // Element by element (pointwise.h); images are channels-last, so that number i belongs to
    // channel i % c.

    /// o = max(x · s + t, 0) by channel. A thread has numbers `apart` from each other.
    fn affine_relu(
        x: input Tx8[n], s: maybe_input f32x8[c], t: input f32x8[c], o: output Tx8[n], n: long, c: int, apart: long,
    ) where c > 0 && apart % c == 0 && 4 * apart >= n;
    /// h = x + y, and o = max(h · s + t, 0) by channel.
    fn add_affine_relu(
        x: input Tx8[n], y: input Tx8[n], s: input f32x8[c], t: input f32x8[c], h: output Tx8[n], o: output Tx8[n],
        n: long, c: int,
    ) where c > 0;
    /// o = g · s where a > 0, else 0, by channel; plus r.
    fn affine_relu_backward(
        g: input Tx8[n], a: input Tx8[n], s: maybe_input f32x8[c], r: maybe_input Tx8[n], o: output Tx8[n], n: long,
        c: int,
    ) where c > 0;
    /// o = max(x · s + t + y, 0) by channel, where y is y · ys + yt if they are there.
    fn join_relu(
        x: input Tx8[n], s: input f32x8[c], t: input f32x8[c], y: input Tx8[n], ys: maybe_input f32x8[c],
        yt: maybe_input f32x8[c], o: output Tx8[n], n: long, c: int,
    ) where c > 0 && ys.is_some() == yt.is_some();
    /// m = g + r where a > 0, else 0; x = m · s and y = m · ys by channel.
    fn join_relu_backward(
        g: input Tx8[n], r: maybe_input Tx8[n], a: input Tx8[n], s: maybe_input f32x8[c], ys: maybe_input f32x8[c],
        m: maybe_output Tx8[n], x: maybe_output Tx8[n], y: maybe_output Tx8[n], n: long, c: int,
    ) where c > 0 && x.is_some() == s.is_some() && y.is_some() == ys.is_some();

    // Batch norm with the batch's statistics (batch_norm.h) of `rows` pixels, in blocks of `height`
    // rows and 8 << `bits` channels.

    /// The factors of x (+ y), `[4, c]`: scale, shift, mean and inverse deviation; moves the
    /// running mean and variance.
    fn batch_statistics(
        x: input Tx8[rows * c], y: maybe_input Tx8[rows * c], sum: maybe_output Tx8[rows * c], w: input f32[c],
        b: input f32[c], mean: output f32[c], var: output f32[c], momentum: float, eps: float,
        factors: output f32[4 * c], partial: output f32x8[grid.x * c * 2], tickets: output u32[grid.y], rows: int,
        c: int, bits: int, height: int,
    ) where (grid.y << bits) * 8 == c && height > 0 && sum.is_some() == y.is_some();
    /// The two sums that the input gradient takes of g, `[2, c]`; with `learned`, `[2, c]`, the
    /// gradients of weight and bias.
    fn batch_slopes(
        g: input Tx8[rows * c], x: input Tx8[rows * c], factors: input f32x8[4 * c], has_relu: int,
        slopes: output f32[2 * c], learned: maybe_output f32[2 * c], partial: output f32x8[grid.x * c * 2],
        tickets: output u32[grid.y], rows: int, c: int, bits: int, height: int,
    ) where (grid.y << bits) * 8 == c && height > 0;
    /// The same as `batch_statistics`, by the moments of groups of `height` rows, `[groups, c, 2]`.
    fn batch_statistics_of_groups(
        groups: input f32x8[(rows + height - 1) / height * c * 2], w: input f32[c], b: input f32[c],
        mean: output f32[c], var: output f32[c], momentum: float, eps: float, factors: output f32[4 * c], rows: int,
        c: int, bits: int, height: int,
    ) where (grid.y << bits) * 8 == c && height > 0;
    /// The same as `batch_slopes`, by the sums of groups of `height` rows, `[groups, c, 2]`.
    fn batch_slopes_of_groups(
        groups: input f32x8[(rows + height - 1) / height * c * 2], factors: input f32[4 * c],
        slopes: output f32[2 * c], learned: maybe_output f32[2 * c], rows: int, c: int, bits: int, height: int,
    ) where (grid.y << bits) * 8 == c && height > 0;
    /// The input gradient, plus r.
    fn batch_backward(
        g: input Tx8[rows * c], x: input Tx8[rows * c], r: maybe_input Tx8[rows * c], factors: input f32x8[4 * c],
        slopes: input f32x8[2 * c], has_relu: int, o: output Tx8[rows * c], rows: int, c: int, bits: int,
        height: int,
    ) where (grid.y << bits) * 8 == c && height > 0;
    /// The affine maps of n batch norms in eval mode. `weight` and `bias` index `values`, `mean`
    /// and `var` index `stats`.
    ///
    /// # Safety
    /// The indices lie within `values` and `stats`.
    [unsafe] fn fold_norms(
        values: input f32[0], stats: input f32[0], weight: input i64[n], bias: input i64[n], mean: input i64[n],
        var: input i64[n], eps: float, scale: output f32[n], shift: output f32[n], n: long,
    );

    // A first convolution (first_conv.h), 3 x 3, of images with three channels or one (gray);
    // `rows` are those of all images. A weight's numbers are `by_channel`, `by_row`, `by_column`
    // apart, and its outputs 9 for each channel.

    fn first_conv(
        x: input T[rows * width * 3], w: input T[outputs * 27], out: output Tx8[rows * width * outputs],
        height: int, width: int, outputs: int, by_channel: int, by_row: int, by_column: int, rows: int,
        at_once: int,
    ) where is_filter([by_channel, by_row, by_column], 3) && outputs % 8 == 0 && outputs <= 64 && height > 0;
    fn first_conv_gray(
        x: input T[rows * width], w: input T[outputs * 9], out: output Tx8[rows * width * outputs], height: int,
        width: int, outputs: int, by_channel: int, by_row: int, by_column: int, rows: int, at_once: int,
    ) where is_filter([by_channel, by_row, by_column], 1) && outputs % 8 == 0 && outputs <= 64 && height > 0;
    fn first_conv_backward(
        dy: input Tx8[rows * width * outputs], w: input T[outputs * 27], dx: output T[rows * width * 3],
        height: int, width: int, outputs: int, by_channel: int, by_row: int, by_column: int, rows: int,
        at_once: int,
    ) where is_filter([by_channel, by_row, by_column], 3) && outputs % 8 == 0 && outputs <= 64 && height > 0;
    fn first_conv_gray_backward(
        dy: input Tx8[rows * width * outputs], w: input T[outputs * 9], dx: output T[rows * width], height: int,
        width: int, outputs: int, by_channel: int, by_row: int, by_column: int, rows: int, at_once: int,
    ) where is_filter([by_channel, by_row, by_column], 1) && outputs % 8 == 0 && outputs <= 64 && height > 0;

    // Winograd's convolution (winograd.h), of tiles of 4 x 4 pixels with 36 products.

    /// Images to 36 matrices `[tiles, c]`.
    fn winograd_images(
        x: input f32x8[tiles * 16 * c], o: output f32x8[36 * tiles * c], height: int, width: int, c: int,
        tiles: int,
    ) where are_tiles(height, width, tiles) && c % 2 == 0;
    /// A weight to 36 matrices `[outputs, c]`; `turned` by half a circle for the input gradient.
    fn winograd_weights(
        w: input f32[outputs * c * 9], o: output f32[36 * outputs * c], outputs: int, c: int, by_output: int,
        by_channel: int, by_row: int, by_column: int, turned: int,
    ) where [by_output, by_channel, by_row, by_column].iter().all(|by| *by >= 0)
        && (outputs - 1) * by_output + (c - 1) * by_channel + 2 * (by_row + by_column) < outputs * c * 9;
    /// sum = the convolution + y; o = max(sum · s + t, 0) by channel, or the sum itself without
    /// them.
    fn winograd_affine(
        p: input f32x8[36 * tiles * c], y: maybe_input f32x8[tiles * 16 * c],
        sum: maybe_output f32x8[tiles * 16 * c], s: maybe_input f32x8[c], t: maybe_input f32x8[c],
        o: output f32x8[tiles * 16 * c], height: int, width: int, c: int, tiles: int,
    ) where are_tiles(height, width, tiles) && c % 2 == 0 && s.is_some() == t.is_some();
    /// o = the input gradient · s where a > 0, else 0, by channel; plus y.
    fn winograd_masked(
        p: input f32x8[36 * tiles * c], a: input f32x8[tiles * 16 * c], y: maybe_input f32x8[tiles * 16 * c],
        s: input f32x8[c], o: output f32x8[tiles * 16 * c], height: int, width: int, c: int, tiles: int,
    ) where are_tiles(height, width, tiles) && c % 2 == 0;

    // The first and the last layer (ends.h), and layouts (transpose.h).

    /// o = (x - mean) / std by channel.
    fn normalize(x: input f32[n], mean: input f32[c], std: input f32[c], o: output T[n], n: long, c: int) where c > 0;
    /// out = gradient / std by channel.
    fn normalize_backward(gradient: input bf16[n], std: input f32[c], out: output f32[n], n: long, c: int)
    where c > 0;
    /// z = w · (mean of x over the pixels) + b; a block for each image.
    fn mean_linear(
        x: input Tx8[grid.x * pixels * c], w: input Tx8[k * c], b: input T[k], z: output f32[grid.x * k],
        pixels: int, c: int, k: int,
    ) where c % 8 == 0 && c <= 2048;
    /// The gradient of that with respect to x; with s, times that where x > 0, else 0.
    fn mean_linear_backward(
        d: input f32[grid.x * k], w: input Tx8[k * c], x: input Tx8[grid.x * pixels * c], s: maybe_input f32x8[c],
        o: output Tx8[grid.x * pixels * c], pixels: int, c: int, k: int,
    ) where c % 8 == 0 && c <= 2048;
    /// Matrices `[rows, columns]` transposed, one for each block along y.
    fn transpose(
        input: input T[grid.y * rows * columns], out: output T[grid.y * rows * columns], rows: int, columns: int,
    );

    // Gradients of objectives with respect to the logits z `[rows, k]` (slopes.h). A label y that
    // is not a class must not come here: the last one reads z at the label.

    fn ce_slope(z: input f32[rows * k], y: input i64[rows], o: output f32[rows * k], rows: long, k: int);
    fn kl_slope(z: input f32[rows * k], clean: input f32[rows * k], o: output f32[rows * k], rows: long, k: int);
    fn slm_slope(z: input f32[rows * k], y: input i64[rows], o: output f32[rows * k], rows: long, k: int);
    fn cw_slope(z: input f32[rows * k], y: input i64[rows], kappa: float, o: output f32[rows * k], rows: long, k: int);

    // Terms of losses and their gradients (terms.h); g is the gradient of each row's term, its
    // numbers `apart`, 0 if there is one.

    fn cross_entropy(z: input f32[rows * k], y: input i64[rows], o: output f32[rows], rows: long, k: int);
    fn cross_entropy_backward(
        z: input f32[rows * k], y: input i64[rows], g: input f32[(rows - 1) * apart + 1], apart: int,
        o: output f32[rows * k], rows: long, k: int,
    ) where rows > 0 && apart >= 0;
    fn label_probability(z: input f32[rows * k], y: input i64[rows], o: output f32[rows], rows: long, k: int);
    fn label_probability_backward(
        z: input f32[rows * k], y: input i64[rows], g: input f32[(rows - 1) * apart + 1], apart: int,
        o: output f32[rows * k], rows: long, k: int,
    ) where rows > 0 && apart >= 0;
    fn kl(p: input f32[rows * k], q: input f32[rows * k], floor: float, o: output f32[rows], rows: long, k: int);
    fn kl_backward(
        p: input f32[rows * k], q: input f32[rows * k], floor: float, g: input f32[(rows - 1) * apart + 1],
        apart: int, dp: maybe_output f32[rows * k], dq: maybe_output f32[rows * k], rows: long, k: int,
    ) where rows > 0 && apart >= 0;

    // Random numbers (noise.h), batches (images.h), attacks and optimisers.

    /// Hashes of the key, the name, each row's index and the place in the row.
    fn noise_bits(
        key: input i64[1], index: input i64[(n + width - 1) / width], name: long, width: int, out: output i64[n],
        n: long,
    ) where width > 0;
    /// The upper 24 bits of those, in [0, 1).
    fn noise_uniform(
        key: input i64[1], index: input i64[(n + width - 1) / width], name: long, width: int, out: output f32[n],
        n: long,
    ) where width > 0;
    /// Images `[n / (c h w), h, w, c]` of a data set's bytes `[.., c, h, w]`, which `rows` index;
    /// cropped and mirrored with a key.
    ///
    /// # Safety
    /// `rows` index images of the data set.
    [unsafe] fn images_of_bytes(
        bytes: input u8[0], rows: input i64[n / (c * h * w)], key: maybe_input i64[1],
        index: maybe_input i64[n / (c * h * w)], out: output f32[n], by_y: long, by_x: long, by_flip: long,
        pad: int, has_flip: int, reflects: int, c: int, h: int, w: int, n: long,
    ) where c * h * w > 0 && key.is_some() == index.is_some();
    /// out = x + alpha · sign(gradient) between low and high.
    fn sign_step(
        x: input f32[n], gradient: input f32[n], alpha: input f64[1], low: input f32[n], high: input f32[n],
        out: output f32[n], n: long,
    );
    /// Sums of tensors, each into its place (pieces.h).
    ///
    /// # Safety
    /// Of each piece the words say where it and its gradients are, and how long.
    [unsafe] fn sum_pieces(pieces: words);
    /// One step of SGD with momentum.
    fn sgd(
        value: output f32[n], gradient: input f32[n], velocity: output f32[n], rate: input f64[1], momentum: float,
        decay: float, nesterov: int, n: long,
    );
}

/// Whether a filter of 3 x 3 numbers for each of `channels` lies within as many numbers.
fn is_filter([by_channel, by_row, by_column]: [i64; 3], channels: i64) -> bool {
    let last = (channels - 1) * by_channel + 2 * (by_row + by_column);
    by_channel >= 0 && by_row >= 0 && by_column >= 0 && last < 9 * channels
}

/// Whether these are all tiles of whole images.
fn are_tiles(height: i64, width: i64, tiles: i64) -> bool {
    height > 0 && width > 0 && height % 4 == 0 && width % 4 == 0 && tiles % (height / 4 * (width / 4)) == 0
}
