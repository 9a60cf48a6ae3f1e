//! Rectangles in images.

use foil::prelude::*;

/// 1 inside the rectangle of each image and 0 outside, `[N, 1, H, W]` booleans. `rows` and
/// `columns` are the first place inside and the first one after it, `[N, 1]` each; a rectangle is
/// cut off at the border.
pub fn window(rows: [&Tensor; 2], columns: [&Tensor; 2], height: i64, width: i64) -> Tensor {
    let inside = |[from, to]: [&Tensor; 2], length: i64| {
        let places = Tensor::arange(length, (Kind::Int64, from.device()));
        from.le_tensor(&places).logical_and(&to.gt_tensor(&places))
    };
    let (rows, columns) = (inside(rows, height), inside(columns, width));
    rows.unsqueeze(2).logical_and(&columns.unsqueeze(1)).unsqueeze(1)
}
