//! Sums by channel, of as many pixels as a block of a convolution's kernel has.

use super::kernels::WIDTH;
use crate::engine::cuda::{Argument, Grid};
use tch::{Device, Kind, Tensor};

/// Two numbers by channel for each of many groups of rows, as a convolution's kernel leaves them.
#[derive(Debug)]
pub(super) struct Groups {
    /// `[groups, C, 2]`, fp32.
    pub found: Tensor,
    /// Rows of a group.
    pub rows: i64,
}

impl Groups {
    /// Room for those of images `[N, C, S, S]`, if they are whole groups.
    pub(super) fn of(images: &Tensor) -> Option<Self> {
        let size: [i64; 4] = images.size4().ok()?.into();
        // Pixels of a group, and images of a tile, as in framework/cuda/conv_shape.h.
        let tile = match size[3] {
            32 => [128, 1],
            16 => [256, 1],
            8 => [128, 2],
            _ => [64, 8],
        };
        Self::with_room(size, tile, images.device())
    }

    /// Room for those of images `[N, C, H, W]`, by the pixels of a group and the images of a tile, if they are whole tiles.
    pub(super) fn with_room([n, c, h, w]: [i64; 4], [rows, at_once]: [i64; 2], device: Device) -> Option<Self> {
        let all = n * h * w;
        let whole = n % at_once == 0 && (2..1 << 24).contains(&all);
        whole.then(|| Self { found: Tensor::empty([all / rows, c, 2], (Kind::Float, device)), rows })
    }

    /// A block for each eight channels.
    pub(super) fn grid(&self) -> Grid {
        Grid::Blocks([1, self.found.size()[1] / WIDTH])
    }

    /// What kernels that add them up end with.
    pub(super) fn arguments(&self) -> [Argument<'static>; 4] {
        let size = self.found.size();
        [size[0] * self.rows, size[1], 0, self.rows].map(|value| Argument::Int(value as i32))
    }
}
