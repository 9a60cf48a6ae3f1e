//! The L1 ball around an image, and the unit cube.

use foil::prelude::*;

/// The nearest change, `[N, C, H, W]`, to `delta` whose absolute values sum to at most `eps` (a
/// scalar or `[N, 1, 1, 1]`) and, with `clip`, that leaves the images `x` in [0, 1] (Croce & Hein
/// 2021, "Mind the Box", arXiv:2103.01208).
///
/// Each number loses the same s, but at least what sticks out of the cube and at most all. What is
/// left, h(s), falls in straight lines that break where a number begins to lose more or is gone:
/// sorting these places finds the line on which h(s) = `eps`. Where the cube alone leaves no more
/// than `eps`, s is 0.
pub(crate) fn onto_l1_ball(x: &Tensor, delta: &Tensor, eps: &Tensor, clip: bool) -> Tensor {
    let (shape, kind) = (delta.size(), delta.kind());
    // Sums over thousands of numbers.
    let [x, delta] = [x, delta].map(|t| t.to_kind(Kind::Double).flatten(1, -1));
    let eps = eps.to_kind(Kind::Double).view([-1, 1]);
    let all = delta.abs();
    let least = if clip { (&x + &delta - (&x + &delta).clamp(0.0, 1.0)).abs() } else { all.zeros_like() };
    let sum = |t: &Tensor| t.sum_dim_intlist(1, true, None::<Kind>);
    let left = sum(&(&all - &least));

    let (breaks, order) = Tensor::cat(&[&least, &all], 1).sort(1, false);
    let turns = Tensor::cat(&[all.ones_like(), -all.ones_like()], 1).gather(1, &order, false);
    let falling = turns.cumsum(1, None::<Kind>);
    let n = breaks.size()[1];
    let drops = falling.narrow(1, 0, n - 1) * breaks.diff(1, 1, None::<Tensor>, None::<Tensor>);
    let lost = Tensor::cat(&[left.zeros_like(), drops.cumsum(1, None::<Kind>)], 1);
    let above = &left - lost - &eps;
    let last = above.ge(0.0).sum_dim_intlist(1, true, Kind::Int64) - 1;
    let at = |t: &Tensor| t.gather(1, &last.clamp_min(0), false);
    let s = at(&breaks) + at(&above) / at(&falling).clamp_min(1.0);
    let s = s.masked_fill(&left.le_tensor(&eps), 0.0);
    (delta.sign() * (&all - least.maximum(&s).minimum(&all))).view(shape.as_slice()).to_kind(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::assert_close;

    fn row(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).view([1, 1, 1, -1])
    }

    // By hand, of the fact sheet: the first two stick out by .3 and .2. Without s they leave .5,
    // .1, .2, .05, .85 in all. With s = .4 they are .4, 0, .2, 0.
    #[test]
    fn four_numbers_by_hand() {
        let (x, delta) = (row(&[0.5, 0.9, 0.2, 0.4]), row(&[0.8, 0.3, -0.6, 0.05]));
        for (eps, clip, expected) in [
            (0.6, true, [0.4, 0.0, -0.2, 0.0]),
            (1.0, true, [0.5, 0.1, -0.2, 0.05]),
            (0.0, true, [0.0; 4]),
            // Without the cube: .8 - s + .6 - s = 1 with s = .2, which leaves .1 of .3.
            (1.1, false, [0.6, 0.1, -0.4, 0.0]),
        ] {
            assert_close(&onto_l1_ball(&x, &delta, &Tensor::from(eps), clip), &row(&expected), 1e-12);
        }
    }

    // No point of ball and cube is nearer: halving s, by the definition, finds the same.
    #[test]
    fn the_nearest_point_by_halving() {
        let noise = nn::Noise::seeded(&[5], 40, tch::Device::Cpu);
        let shape = [3i64, 4, 5];
        let x = (noise.uniform("x", &shape, Kind::Double) * 1.4 - 0.2).clamp(0.0, 1.0);
        let delta = noise.normal("delta", &shape, Kind::Double) * noise.uniform("length", &[1, 1, 1], Kind::Double);
        let wide = |values: Tensor| values.view([-1, 1, 1, 1]);
        let least = (&x + &delta - (&x + &delta).clamp(0.0, 1.0)).abs();
        let sum = |t: &Tensor| wide(t.flatten(1, -1).sum_dim_intlist(1, false, None::<Kind>));
        for eps in [0.01, 1.0, 3.0, 100.0] {
            let (mut low, mut high) = (sum(&delta) * 0.0, sum(&delta) * 0.0 + 10.0);
            let shrunk = |s: &Tensor| delta.abs() - least.maximum(s).minimum(&delta.abs());
            for _ in 0..60 {
                let middle = (&low + &high) / 2.0;
                let too_long = sum(&shrunk(&middle)).gt(eps);
                low = middle.where_self(&too_long, &low);
                high = high.where_self(&too_long, &middle);
            }
            // Without s, if the cube alone is enough.
            let s = high.masked_fill(&sum(&shrunk(&(high.zeros_like()))).le(eps), 0.0);
            let expected = delta.sign() * shrunk(&s);
            let found = onto_l1_ball(&x, &delta, &Tensor::from(eps), true);
            assert_close(&found, &expected, 1e-12);
            assert!(sum(&found.abs()).max().double_value(&[]) <= eps + 1e-12);
            assert!((&x + found - 0.5).abs().max().double_value(&[]) <= 0.5 + 1e-15);
        }
    }

    #[test]
    fn single_precision_keeps_its_digits() {
        let noise = nn::Noise::seeded(&[6], 4, tch::Device::Cpu);
        let (x, delta) = (noise.uniform("x", &[3072], Kind::Float), noise.normal("d", &[3072], Kind::Float));
        let [x, delta] = [x, delta].map(|t| t.view([4, 3, 32, 32]));
        let found = onto_l1_ball(&x, &delta, &Tensor::from(12.0), true);
        assert_eq!(found.kind(), Kind::Float);
        let length = found.to_kind(Kind::Double).abs().flatten(1, -1).sum_dim_intlist(1, false, None::<Kind>);
        assert!((length - 12.0).abs().max().double_value(&[]) < 1e-5);
    }
}
