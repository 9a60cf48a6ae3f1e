//! Points that fill an Linf ball.

use super::Oracle;
use tch::{Kind, Tensor};

/// Bisections from a ball's centre to the oracle's boundary: down to eps / 2^14.
const HALVINGS: usize = 14;

/// Offsets `[2]` that fill the ball of radius `eps`: a grid of `2 * half + 1` points a side, edges
/// and centre included.
pub(super) fn offsets(eps: f64, half: i64) -> impl Iterator<Item = Tensor> {
    let step = eps / half as f64;
    let offset = move |i: i64, j: i64| Tensor::from_slice(&[(i as f64 * step) as f32, (j as f64 * step) as f32]);
    (-half..=half).flat_map(move |i| (-half..=half).map(move |j| offset(i, j)))
}

/// `points` `[n, 2]` moved by `offset`, kept in the unit square.
pub(super) fn moved(points: &Tensor, offset: &Tensor) -> Tensor {
    (points + offset).clamp(0.0, 1.0)
}

/// The two sides of the oracle's boundary on the way from each of `points` `[n, 2]` to `ends` `[n,
/// 2]`: the last point found with the class of the start, and the first with the other. Where the
/// end has the start's class, both are the end.
pub(super) fn shore(oracle: Oracle, points: &Tensor, ends: &Tensor) -> [Tensor; 2] {
    let own = oracle.label(points);
    let same = |x: &Tensor| oracle.label(x).eq_tensor(&own).unsqueeze(1);
    let ends_alike = same(ends);
    let (mut near, mut far) = (points.where_self(&ends_alike.logical_not(), ends), ends.copy());
    for _ in 0..HALVINGS {
        let middle = (&near + &far) * 0.5;
        let here = same(&middle);
        (near, far) = (middle.where_self(&here, &near), far.where_self(&here, &middle));
    }
    [near, far]
}

/// Whether the oracle's boundary crosses the ball of each of `points` `[n, 2]`: `[n]` bool.
pub(super) fn crossed(oracle: Oracle, points: &Tensor, eps: f64, half: i64) -> Tensor {
    let own = oracle.label(points);
    let none = own.zeros_like().to_kind(Kind::Bool);
    offsets(eps, half)
        .fold(none, |crossed, offset| crossed.logical_or(&oracle.label(&moved(points, &offset)).ne_tensor(&own)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_fills_the_ball_with_its_edges() {
        let all: Vec<Vec<f32>> = offsets(0.1, 2).map(|offset| Vec::try_from(offset).unwrap()).collect();
        assert_eq!(all.len(), 25);
        for corner in [[-0.1f32, -0.1], [0.1, 0.1], [0.0, 0.0], [-0.1, 0.05]] {
            assert!(all.iter().any(|at| (at[0] - corner[0]).abs() + (at[1] - corner[1]).abs() < 1e-6), "{corner:?}");
        }
    }

    // The swell at x = 1/2 is at y = 1/2.
    #[test]
    fn the_shore_is_found_from_both_sides() {
        let points = Tensor::from_slice2(&[[0.5f32, 0.55], [0.5, 0.42]]);
        let ends = moved(&points, &Tensor::from_slice(&[0.0f32, -0.1]));
        let [near, far] = shore(Oracle::Swell, &points, &ends);
        let near: Vec<f32> = near.select(1, 1).try_into().unwrap();
        let far: Vec<f32> = far.select(1, 1).try_into().unwrap();
        assert!(near[0] >= 0.5 && far[0] < 0.5 && near[0] - far[0] < 1e-4, "{near:?} {far:?}");
        assert!((near[1] - 0.32).abs() < 1e-6 && near[1] == far[1], "{near:?} {far:?}");
    }

    // Where the second ball begins, at x = .4, the swell is at .5 + .07 sin(.8 pi) = .541; the ball
    // ends at .56.
    #[test]
    fn a_ball_is_crossed_where_the_boundary_is_nearer_than_its_edge() {
        let points = Tensor::from_slice2(&[[0.5f32, 0.58], [0.5, 0.66], [0.5, 0.42]]);
        let found: Vec<bool> = crossed(Oracle::Swell, &points, 0.1, 8).try_into().unwrap();
        assert_eq!(found, [true, false, true]);
    }
}
