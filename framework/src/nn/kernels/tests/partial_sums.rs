//! What a convolution's kernel finds by groups of pixels, and batch norm's kernels make of it.

use super::*;

/// `[groups, rows, C]`.
fn by_group(images: &Tensor, rows: i64) -> Tensor {
    images.to_kind(Kind::Float).permute([0, 2, 3, 1]).reshape([-1, rows, images.size()[1]])
}

fn groups(of_each: [Tensor; 2], rows: i64) -> PartialSums {
    PartialSums { sums: Tensor::stack(&of_each, -1).contiguous(), group: rows }
}

/// What a convolution's kernel finds of the gradient that it writes; `xs` went into batch norm,
/// whose scale, shift and mean are `line`.
fn grad_sums(gradient: &Tensor, xs: &Tensor, [scale, shift, mean]: [&Tensor; 3], rows: i64) -> PartialSums {
    let xs = by_group(xs, rows);
    let open = by_group(gradient, rows) * (&xs * scale + shift).gt(0.0);
    groups([&open, &(&open * (&xs - mean))].map(|t| t.sum_dim_intlist(1, false, Kind::Float)), rows)
}

// Oracle: a gradient that nobody has begun. What begins it here finds the sums a convolution's
// kernel would find, or wrong ones.
pub(super) fn gradients_begun_behind(on: On) {
    use crate::nn::autograd::node;
    let (shape, rows) = ([4, 64, 8, 16], 64);
    let to = (Kind::BFloat16, on.device());
    // With sums that are `factor` times the true ones, and perhaps another use of the activation,
    // before the first or after it.
    let gradients = |factor: Option<f64>, others: [bool; 2]| {
        let (params, [bn, _]) = norms(shape[1], (Kind::Float, on.device()));
        on.during(|| {
            let [x, g] = ["x", "g"].map(|name| images(name, shape, Kind::BFloat16, to));
            let x = x.set_requires_grad(true);
            let activated = bn.norm_relu(&params.pass(Mode::Train, true, false, 0, None), &x);
            let upstream = ConvInput::from(&activated).upstream().unwrap();
            let gradient = g.shallow_clone();
            let behind = move |_: Vec<Option<Tensor>>| {
                let begun = upstream.conv_backward(|xs, line| {
                    let groups = grad_sums(&gradient, xs, line, rows);
                    let sums = groups.sums * factor?;
                    Some((gradient.copy(), PartialSums { sums, group: rows }))
                });
                Ok(vec![Some(begun.unwrap_or_else(|| gradient.copy()))])
            };
            let zero = activated.out.detach().zeros_like();
            let other = |_: &bool| (&activated.out * &g).sum(Kind::Float);
            let before = others[..1].iter().filter(|there| **there).map(other).collect::<Vec<_>>();
            let made = node(c"test", &[&activated.out], &[&zero], behind).unwrap().remove(0).sum(Kind::Float);
            let after = others[1..].iter().filter(|there| **there).map(other);
            let value: Tensor = before.into_iter().chain([made]).chain(after).sum();
            let wanted: Vec<&Tensor> = [&x].into_iter().chain(params.drain_grad_views()).collect();
            let found = Tensor::run_backward(&[value], &wanted, false, false);
            found.into_iter().filter(Tensor::defined).collect::<Vec<_>>()
        })
    };
    let far = |found: &[Tensor], expected: &[Tensor]| {
        let off = |(a, b): (&Tensor, &Tensor)| ((a - b).norm() / b.norm()).to_kind(Kind::Double).double_value(&[]);
        found.iter().zip(expected).map(off).fold(0.0, f64::max)
    };
    let expected = gradients(None, [false; 2]);
    let begun = gradients(Some(1.0), [false; 2]);
    assert_eq!((expected.len(), begun.len()), (3, 3));
    assert!(far(&begun, &expected) < 4e-3, "{:e}", far(&begun, &expected));
    assert!(far(&gradients(Some(2.0), [false; 2]), &expected) > 0.1, "the sums were not taken");
    for others in [[true, false], [false, true], [true, true]] {
        let expected = gradients(None, others);
        assert!(far(&gradients(Some(2.0), others), &expected) == 0.0, "sums of another gradient were taken");
    }
}

// Oracle: the kernels that read all rows. PartialSums are what a convolution's kernel would find.
pub(super) fn sums_of_groups(on: On) {
    for (shape, rows) in [([4, 64, 8, 16], 64), ([3, 24, 4, 12], 16), ([8, 512, 4, 4], 64)] {
        let (params, [bn, _]) = norms(shape[1], (Kind::Float, on.device()));
        let pass = params.pass(Mode::Train, false, false, 0, None);
        let learned = bn.weight_and_bias(&pass);
        let running = || [bn.mean, bn.var].map(|id| pass.buffer(id).copy());
        let [x, g, other] =
            ["x", "g", "other"].map(|name| images(name, shape, Kind::BFloat16, (Kind::BFloat16, on.device())));
        let x = x + 3;
        let (by_all, by_groups) = (running(), running());
        let (_, expected) = on.during(|| batch_statistics(&x, None, learned, by_all.each_ref(), [0.1, 1e-5])).unwrap();

        let xs = by_group(&x, rows);
        let means = xs.mean_dim(1, true, Kind::Float);
        let moments =
            groups([means.squeeze_dim(1), (&xs - &means).square().sum_dim_intlist(1, false, Kind::Float)], rows);
        let factors = on.during(|| statistics_from_sums(&moments, learned, by_groups.each_ref(), [0.1, 1e-5])).unwrap();
        for (of, expected) in [BatchFactors::scale, BatchFactors::shift, BatchFactors::mean, BatchFactors::inverse_std]
            .map(|number| (number(&factors), number(&expected)))
            .iter()
            .chain(&by_groups.into_iter().zip(by_all).collect::<Vec<_>>())
        {
            assert_near("statistics of groups", of, expected);
        }

        let sums = grad_sums(&g, &x, [expected.scale(), expected.shift(), expected.mean()].each_ref(), rows);
        for learns in [true, false] {
            let (all, learned) =
                on.during(|| batch_norm_backward(&g, &x, &expected, true, Some(&other), learns)).unwrap();
            let (dx, by_groups) =
                on.during(|| backward_from_sums(&sums, &g, &x, &expected, Some(&other), learns)).unwrap();
            assert_near("gradient by groups", &dx, &all);
            assert_eq!((learned.is_some(), by_groups.is_some()), (learns, learns));
            for (found, expected) in by_groups.iter().flatten().zip(learned.iter().flatten()) {
                assert_near("gradient of weight or bias by groups", found, expected);
            }
        }
    }
}
