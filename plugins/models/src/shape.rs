//! Whether images fit a network.

use foil::prelude::*;

fn require(cx: &Build, fits: bool, takes: &str, help: &str) {
    if !fits {
        let [c, h, w] = [cx.data.channels, cx.data.height, cx.data.width];
        cx.problem("", format!("takes {takes}; the data's are {c} x {h} x {w} (channels, height, width)"), help);
    }
}

/// For networks whose linear layers fit MNIST's images only.
pub(crate) fn require_digits(cx: &Build) {
    let fits = [cx.data.channels, cx.data.height, cx.data.width] == [1, 28, 28];
    require(cx, fits, "grey images of 28 x 28", "`preact_resnet18`, `resnet18` and `wide_resnet` take colour images");
}

/// For residual networks, which halve the image up to three times: on smaller images they would
/// convolve only padding.
pub(crate) fn require_eight_pixels(cx: &Build) {
    let fits = cx.data.height.min(cx.data.width) >= 8;
    require(cx, fits, "images of at least 8 x 8", "`small_cnn` takes images of any size");
}

/// For networks with ImageNet's stem, which make the image four times smaller before the first
/// stage.
pub(crate) fn require_large(cx: &Build) {
    let fits = cx.data.height.min(cx.data.width) >= 32;
    require(cx, fits, "images of at least 32 x 32", "`resnet18` takes images of at least 8 x 8");
}
