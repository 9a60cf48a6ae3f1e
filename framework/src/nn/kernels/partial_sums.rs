//! What a convolution's kernel finds by channel of the pixels that it writes, group by group.

use crate::cuda::{Grid, VECTOR, conv};
use tch::{Device, Kind, Tensor};

/// Two numbers by channel for each group of pixels; batch norm's kernels add them up.
#[derive(Debug)]
pub(in crate::nn) struct PartialSums {
    /// `[groups, C, 2]`, fp32: mean and sum of squared deviations, or the two sums of a gradient.
    pub sums: Tensor,
    /// Pixels of a group.
    pub group: i64,
}

impl PartialSums {
    /// Room for those of images of size `written`, by this many convolutions whose input has sides
    /// of `input_side`; `None` if the images are not whole groups.
    pub(super) fn empty(written: [i64; 4], input_side: i64, convolutions: usize, device: Device) -> Option<Self> {
        let [group, images_at_once] = conv::group_size(input_side, convolutions);
        let [n, c, h, w] = written;
        let pixels = n * h * w;
        let is_whole = n % images_at_once == 0 && (2..1 << 24).contains(&pixels);
        is_whole.then(|| Self { sums: Tensor::empty([pixels / group, c, 2], (Kind::Float, device)), group })
    }

    /// A block for each vector of channels.
    pub(super) fn grid(&self) -> Grid {
        Grid::Blocks([1, self.sums.size()[1] / VECTOR])
    }

    /// Pixels, channels, log2 of the vectors of a block, and pixels of a group, as kernels take
    /// them.
    pub(super) fn shape(&self) -> [i32; 4] {
        let size = self.sums.size();
        [size[0] * self.group, size[1], 0, self.group].map(|value| value as i32)
    }
}
