//! The images of a batch that an attack has not broken yet.
//!
//! A captured attack works on the whole batch to the end. An evaluation lets it shrink
//! ([`Target::shrinks`]): broken images leave with what was found for them, and the rest continue.

use foil::prelude::*;

/// Where the images that are under way belong in the batch, and the result of those that left.
pub(crate) struct Live {
    rows: Tensor,
    out: Tensor,
}

impl Live {
    /// All images of the batch are under way.
    pub(crate) fn new(batch: &Batch) -> Self {
        let rows = Tensor::arange(batch.y.size()[0], (Kind::Int64, batch.y.device()));
        Self { rows, out: batch.x.copy() }
    }

    /// Lets the `broken` ones (`[n]` bool) leave with `x` `[n, C, H, W]`. Returns the places `[m]`
    /// of those that stay, or `None` if none is broken. It reads the device.
    pub(crate) fn shrink(&mut self, broken: &Tensor, x: &Tensor) -> Option<Tensor> {
        let gone = broken.nonzero().view(-1);
        if gone.size()[0] == 0 {
            return None;
        }
        let _ = self.out.index_copy_(0, &self.rows.index_select(0, &gone), &x.index_select(0, &gone));
        let stay = broken.logical_not().nonzero().view(-1);
        self.rows = self.rows.index_select(0, &stay);
        Some(stay)
    }

    /// Whether no image is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.size()[0] == 0
    }

    /// The results of all images, with `x` for those still under way.
    pub(crate) fn finish(mut self, x: &Tensor) -> Tensor {
        let _ = self.out.index_copy_(0, &self.rows, x);
        self.out
    }
}
