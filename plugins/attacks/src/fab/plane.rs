//! The nearest point of a plane within the unit cube.

use foil::prelude::*;

/// The smallest change, `[N, C, H, W]`, that takes the points `x` within [0, 1] to where height +
/// gradient · change = 0; `height` `[N]`. Where the cube does not reach the plane, the change that
/// comes nearest.
///
/// Pixels move against the sign of their gradient until they meet 0 or 1, all as far as λ (Linf) or
/// λ |gradient| (L2; `fab_t` refuses L1). The height so lost is Σ cost · min(λ, room), concave and
/// piecewise linear in λ: sorting the rooms finds the piece, and the piece gives λ. (The authors
/// search the sorted list by halving, to the same end.)
pub(super) fn onto_plane(x: &Tensor, gradient: &Tensor, height: &Tensor, norm: Norm) -> Tensor {
    let shape = x.size();
    let (x, w) = (x.flatten(1, -1), gradient.flatten(1, -1));
    // The plane is the same for any multiple of the gradient; so tiny ones keep their digits.
    let scale = w.abs().amax(1, true).clamp_min(1e-30);
    let below = height.lt(0.0).unsqueeze(1);
    let w = w / &scale;
    let w = w.neg().where_self(&below, &w);
    let to_lose = height.abs().unsqueeze(1) / scale;

    // Down to 0 where the gradient is positive, up to 1 where it is negative.
    let way = x.where_self(&w.gt(0.0), &(1.0 - &x)) * w.ne(0.0).to_kind(w.kind());
    let (cost, room) = match norm {
        Norm::Linf => (w.abs(), way),
        Norm::L2 | Norm::L1 => (w.square(), way / w.abs().clamp_min(1e-30)),
    };
    let (rooms, order) = room.sort(1, false);
    let costs = cost.gather(1, &order, false);
    let spent = (&costs * &rooms).cumsum(1, None::<Kind>);
    let before = &spent - &costs * &rooms;
    let moving = costs.sum_dim_intlist(1, true, None::<Kind>) - costs.cumsum(1, None::<Kind>) + &costs;
    let lost = &before + &moving * &rooms;

    let last = x.size()[1] - 1;
    let piece = lost.lt_tensor(&to_lose).sum_dim_intlist(1, true, Kind::Int64);
    let at = |t: &Tensor| t.gather(1, &piece.clamp_max(last), false);
    let lambda = ((&to_lose - at(&before)) / at(&moving).clamp_min(1e-30)).clamp_min(0.0);
    let lambda = rooms.narrow(1, last, 1).where_self(&piece.gt(last), &lambda);
    let moved = lambda.minimum(&room);
    let change = match norm {
        Norm::Linf => w.sign() * moved,
        Norm::L2 | Norm::L1 => w * moved,
    };
    change.neg().view(shape.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::assert_close;

    fn change(x: [f64; 3], gradient: [f64; 3], height: f64, norm: Norm) -> Tensor {
        let [x, gradient] = [x, gradient].map(|t| Tensor::from_slice(&t).view([1, 1, 1, 3]));
        onto_plane(&x, &gradient, &Tensor::from_slice(&[height]), norm).view(-1)
    }

    // By hand. Linf: all move by height / Σ|g| while there is room; a pixel with room 0.1 stops
    // there, and the others make up for it. L2: along the gradient, height / |g|²; then without the
    // one that stopped.
    #[test]
    fn three_pixels_by_hand() {
        let check = |found: Tensor, expected: [f64; 3]| assert_close(&found, &Tensor::from_slice(&expected), 1e-12);
        check(change([0.5, 0.5, 0.5], [2.0, -1.0, 1.0], 0.4, Norm::Linf), [-0.1, 0.1, -0.1]);
        check(change([0.5, 0.5, 0.5], [2.0, -1.0, 1.0], -0.4, Norm::Linf), [0.1, -0.1, 0.1]);
        check(change([0.1, 0.5, 0.5], [2.0, -1.0, 1.0], 0.8, Norm::Linf), [-0.1, 0.3, -0.3]);
        check(change([0.5, 0.5, 0.5], [2.0, -1.0, 0.0], 0.5, Norm::L2), [-0.2, 0.1, 0.0]);
        check(change([0.1, 0.5, 0.5], [2.0, -1.0, 0.0], 0.5, Norm::L2), [-0.1, 0.3, 0.0]);
        // Out of reach: as far as the cube goes. Without a gradient: nowhere.
        check(change([0.1, 0.5, 0.5], [2.0, -1.0, 1.0], 9.0, Norm::Linf), [-0.1, 0.5, -0.5]);
        check(change([0.1, 0.5, 0.5], [0.0, 0.0, 0.0], 9.0, Norm::L2), [0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_scale_of_the_logits_plays_no_part() {
        let x = [0.2, 0.9, 0.4];
        for norm in [Norm::Linf, Norm::L2] {
            let tiny = change(x, [2e-20, -1e-20, 5e-21], 3e-21, norm);
            assert_close(&tiny, &change(x, [2.0, -1.0, 0.5], 0.3, norm), 1e-12);
        }
    }
}
