//! What one query of Square tries.

use crate::ball::Geometry;
use foil::prelude::*;

/// The random numbers of a block of queries.
pub(super) struct Draws {
    numbers: Tensor,
    channels: i64,
}

/// The random numbers of one query.
pub(super) struct Draw {
    /// `[N, 4]` uniform in [0, 1): where two squares lie (row, column, row, column).
    place: Tensor,
    /// `[N, 1, 1]`: whether L2's bump lies on its side.
    turned: Tensor,
    /// `[N, C, 1, 1]`, ±1.
    sign: Tensor,
}

/// ±1 where a number uniform in [0, 1) is over or under one half.
fn signs(uniform: &Tensor, kind: Kind) -> Tensor {
    uniform.ge(0.5).to_kind(kind) * 2.0 - 1.0
}

impl Draws {
    pub(super) fn new(batch: &Batch, name: &str, queries: u32, channels: i64) -> Self {
        // In double precision a corner is the same number whatever the images' precision is.
        let numbers = batch.noise.uniform(name, &[i64::from(queries), 5 + channels], Kind::Double);
        Self { numbers, channels }
    }

    pub(super) fn at(&self, query: u32) -> Draw {
        let row = self.numbers.select(1, i64::from(query));
        Draw {
            place: row.narrow(1, 0, 4),
            turned: row.narrow(1, 4, 1).ge(0.5).unsqueeze(2),
            sign: signs(&row.narrow(1, 5, self.channels), Kind::Float).unsqueeze(2).unsqueeze(3),
        }
    }
}

impl Draw {
    /// For each image how far each row and each column lies behind the first one of the square at
    /// `place`, `[N, H]` and `[N, W]`. Corners are uniform in `0..length - side`, as in
    /// AutoAttack's code: the last place is never drawn.
    fn behind(&self, which: i64, height: i64, width: i64, side: i64) -> [Tensor; 2] {
        [(0, height), (1, width)].map(|(axis, length)| {
            let corner = (self.place.narrow(1, 2 * which + axis, 1) * (length - side) as f64).floor();
            Tensor::arange(length, (Kind::Double, corner.device())).unsqueeze(0) - corner
        })
    }
}

/// Whether a pixel lies in the square, `[N, 1, H, W]` bool.
fn inside(behind: &[Tensor; 2], side: i64) -> Tensor {
    let [rows, columns] = behind.each_ref().map(|t| t.ge(0.0).logical_and(&t.lt(side as f64)));
    rows.unsqueeze(2).logical_and(&columns.unsqueeze(1)).unsqueeze(1)
}

/// Vertical stripes of ±eps, one sign for each channel and column.
pub(super) fn linf_start(batch: &Batch, name: &str, eps: &Tensor) -> Tensor {
    let (_, channels, _, width) = size(&batch.x);
    let sign = signs(&batch.noise.uniform(name, &[channels, 1, width], Kind::Double), batch.x.kind());
    (&batch.x + sign * eps).clamp(0.0, 1.0)
}

/// ±2 eps in a square, into the ball of `center` and into [0, 1].
pub(super) fn linf(center: &Tensor, x: &Tensor, eps: &Tensor, draw: &Draw, side: i64) -> Tensor {
    let (_, _, height, width) = size(x);
    let square = inside(&draw.behind(0, height, width, side), side).to_kind(x.kind());
    let change = square * (draw.sign.to_kind(x.kind()) * eps * 2.0);
    Box01::new(center, eps, true).project(&(x + change))
}

fn size(x: &Tensor) -> (i64, i64, i64, i64) {
    let size = x.size();
    (size[0], size[1], size[2], size[3])
}

/// Concentric rectangles around the middle of `rows` x `columns` pixels, each 1/k² high, k = 1, 2,
/// …: a bump (the paper's Algorithm 3).
fn bump(rows: i64, columns: i64) -> Vec<f64> {
    let (middle_row, middle_column) = (rows / 2, columns / 2);
    let rings = (rows / 2 + 1).max(columns / 2 + 1);
    let height = |row: i64, column: i64| {
        let ring = (row - middle_row).abs().max((column - middle_column).abs());
        (ring..rings).map(|k| 1.0 / ((k + 1) as f64).powi(2)).sum::<f64>()
    };
    let flat: Vec<f64> =
        (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| height(r, c)).collect();
    let length = flat.iter().map(|v| v * v).sum::<f64>().sqrt();
    flat.into_iter().map(|v| v / length).collect()
}

/// Two bumps of opposite sign, one above the other, of length 1: `[side, side]`.
fn pair(side: i64, like: &Tensor) -> Tensor {
    let mut both = bump(side / 2, side);
    both.extend(bump(side - side / 2, side).into_iter().map(|v| -v));
    let length = both.iter().map(|v| v * v).sum::<f64>().sqrt();
    let both: Vec<f64> = both.into_iter().map(|v| v / length).collect();
    Tensor::from_slice(&both).view([side, side]).to_kind(like.kind()).to_device(like.device())
}

/// A grid of 5 x 5 pairs of bumps, each with a sign for each channel and laid on its side or not.
pub(super) fn l2_start(batch: &Batch, name: &str, eps: &Tensor) -> Tensor {
    let (n, channels, height, width) = size(&batch.x);
    let (side, kind) = (height.min(width) / 5, batch.x.kind());
    let margins = [(height - side * 5) / 2, (width - side * 5) / 2];
    let numbers = batch.noise.uniform(name, &[25, 1 + channels], Kind::Double);
    let upright = pair(side, &batch.x);
    let lying = upright.transpose(0, 1);
    let turned = numbers.narrow(2, 0, 1).ge(0.5).unsqueeze(3);
    let shape = lying.unsqueeze(0).unsqueeze(0).where_self(&turned, &upright.unsqueeze(0).unsqueeze(0));
    let sign = signs(&numbers.narrow(2, 1, channels), kind).view([n, 25, channels, 1, 1]);
    // [N, 25, C, s, s] to the grid [N, C, 5 s, 5 s].
    let tiles = (shape.unsqueeze(2) * sign).view([n, 5, 5, channels, side, side]);
    let grid = tiles.permute([0, 3, 1, 4, 2, 5]).reshape([n, channels, 5 * side, 5 * side]);
    let [top, left] = margins;
    let delta = grid.constant_pad_nd([left, width - 5 * side - left, top, height - 5 * side - top]);
    (&batch.x + Norm::L2.unit(&delta) * eps).clamp(0.0, 1.0)
}

/// The length of the change in one square goes into another, where it is added to a pair of bumps;
/// the whole is scaled to eps.
pub(super) fn l2(center: &Tensor, x: &Tensor, eps: &Tensor, draw: &Draw, side: i64) -> Tensor {
    let (_, channels, height, width) = size(x);
    let kind = x.kind();
    let delta = x - center;
    let to = draw.behind(0, height, width, side);
    let from = draw.behind(1, height, width, side);
    let [to_mask, from_mask] = [&to, &from].map(|behind| inside(behind, side));
    let [into, either] = [to_mask.shallow_clone(), to_mask.logical_or(&from_mask)].map(|mask| mask.to_kind(kind));
    let per_channel = |t: &Tensor| t.square().sum_dim_intlist([2i64, 3].as_slice(), true, None::<Kind>).sqrt();

    // The pair at each image's place: its row and column there, as one index.
    let [rows, columns] = to.map(|behind| behind.clamp(0.0, (side - 1) as f64).to_kind(Kind::Int64));
    let index = rows.unsqueeze(2) * side + columns.unsqueeze(1);
    let across = rows.unsqueeze(2) + columns.unsqueeze(1) * side;
    let index = across.where_self(&draw.turned, &index);
    let shape = pair(side, x).view(-1).index_select(0, &index.view(-1)).view([-1, 1, height, width]);

    let there = &delta * &into;
    let bumps = (shape * draw.sign.to_kind(kind) + &there / (per_channel(&there) + 1e-12)) * &into;
    let unused = (eps * eps - Norm::L2.length(&delta).square()).clamp_min(0.0) / channels as f64;
    let length = (unused + Norm::L2.length(&(&delta * &either)).square()).sqrt();
    let bumps = &bumps / (per_channel(&bumps) + 1e-12) * length;
    let delta = delta * (1.0 - either) + bumps;
    (center + Norm::L2.unit(&delta) * eps).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::assert_close;

    // By hand: rectangles of 1 (the middle), 1/4 and 1/9 on 3 x 3 pixels: 1 + 1/4 in the middle,
    // 1/4 around it; then length 1.
    #[test]
    fn a_bump_is_highest_in_the_middle() {
        let found = Tensor::from_slice(&bump(3, 3));
        let raw = [0.25, 0.25, 0.25, 0.25, 1.25, 0.25, 0.25, 0.25, 0.25];
        let length = (1.25f64.powi(2) + 8.0 * 0.0625).sqrt();
        assert_close(&found, &(Tensor::from_slice(&raw) / length), 1e-12);
        assert!(bump(0, 3).is_empty());
    }
}
