//! Convolutions, flattening, and both ends of a network.

use super::*;

// Oracle: libtorch's in float64.
pub(super) fn first_convolutions(on: On) {
    let shapes = [([2, 5, 7], 8), ([2, 32, 32], 64), ([3, 9, 33], 24), ([1, 1, 1], 16), ([70, 11, 3], 8)];
    for (([n, h, w], outputs), c) in shapes.into_iter().flat_map(|shape| [(shape, 3), (shape, 1)]) {
        for (held, weights_last) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            let to = (held, on.device());
            let dy = images("dy", [n, outputs, h, w], held, to);
            let xs = images("xs", [n, c, h, w], held, to);
            let weight = images("weight", [outputs, c, 3, 3], held, to);
            let weight = if weights_last { weight } else { weight.contiguous() };
            let [out, dx] = on.during(|| {
                let out = first_conv(&xs, &weight, [1, 1]).unwrap();
                [out, first_conv_backward(&dy, &xs, &weight, [1, 1]).unwrap()]
            });
            let [dy, xs, weight] = [dy, xs, weight].map(|t| t.to_device(Device::Cpu).to_kind(Kind::Double));
            let expected = xs.conv2d(&weight, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1);
            assert_near(&format!("{outputs} outputs"), &out, &expected);
            let expected = crate::shim::conv_input_gradient(&dy, &xs, &weight, 1, 1).unwrap();
            assert_near(&format!("dx of {outputs} outputs"), &dx, &expected);
            assert!([out, dx].iter().all(crate::shim::is_channels_last));
        }
    }
    let [xs, dy, weight] =
        [[2, 3, 8, 8], [2, 8, 4, 4], [8, 3, 3, 3]].map(|size| normal("x", &size, Kind::Float).to_device(on.device()));
    assert!(on.during(|| first_conv_backward(&dy, &xs, &weight, [2, 1])).is_none());
    assert!(on.during(|| first_conv(&xs, &weight, [2, 1])).is_none());
    // Autograd is libtorch's.
    assert!(on.during(|| first_conv(&xs, &weight.set_requires_grad(true), [1, 1])).is_none());
}

fn convolution(weight: &Tensor, stride: i64) -> Convolutions<'_, 1> {
    Convolutions { weights: [weight], stride_padding: [[stride, 1]] }
}

// Oracle: libtorch's in float64. Rounding is 1e-6 of the numbers' length at 64 channels; a kernel
// that sums one product after the other has 3e-7 there, and 7e-7 at 512.
pub(super) fn convolutions_in_fewer_products(on: On) {
    crate::shim::allow_tf32(false).unwrap();
    let to = |name: &str, size: &[i64]| normal(name, size, Kind::Float).to_device(on.device());
    let off = |found: &Tensor, expected: &Tensor| off(&found.to_device(Device::Cpu), expected);
    for [n, inputs, outputs, h, w] in [[3, 64, 64, 8, 12], [5, 72, 64, 4, 4], [1, 64, 136, 16, 8], [2, 128, 128, 4, 4]]
    {
        for weights_last in [true, false] {
            let what = format!("{inputs} to {outputs} channels, {n} of {h} x {w}");
            let [xs, ys, d_out, other] = [("xs", inputs), ("ys", outputs), ("d_out", outputs), ("other", inputs)]
                .map(|(name, c)| to(name, &[n, c, h, w]));
            let weight = to("weight", &[outputs, inputs, 3, 3]) * (2.0 / (9 * inputs) as f64).sqrt();
            let weight = if weights_last { weight } else { weight.contiguous() };
            let [scale, shift] = ["scale", "shift"].map(|name| to(name, &[outputs]));
            let scales = to("scales", &[inputs]);
            let (line, by) = ([&scale, &shift], [1, 1]);
            let exact = |t: &Tensor| t.to_device(Device::Cpu).to_kind(Kind::Double);
            let there = exact(&xs).conv2d(&exact(&weight), None::<Tensor>, by, by, [1, 1], 1);
            let back = crate::shim::conv_input_gradient(&exact(&d_out), &exact(&xs), &exact(&weight), 1, 1).unwrap();
            let affine = |sum: &Tensor| (sum * by_channel(&exact(&scale)) + by_channel(&exact(&shift))).relu();
            let masked = &back * by_channel(&exact(&scales)) * exact(&xs).gt(0.0);
            let conv = convolution(&weight, 1);
            let find = || {
                let keeping = |keeps| conv.forward_affine_relu(&xs, line, Some(&ys), keeps);
                let (sum, [of_sum]) = keeping(true)?;
                let masked = |other| conv.backward_masked([&d_out], &xs, &scales, other);
                let [plain] = conv.forward(&xs)?;
                let [affine] = conv.forward_affine_relu(&xs, line, None, false)?.1;
                let [alone] = keeping(false)?.1;
                let gradients = [conv.backward([&d_out])?, masked(None)?, masked(Some(&other))?];
                Some([plain, affine, sum?, of_sum, alone].into_iter().chain(gradients).collect::<Vec<_>>())
            };
            let Some(found) = on.during(find) else {
                assert!(matches!(on, On::Gpu), "{what}");
                return println!("not on this GPU: convolutions in fewer products");
            };
            let sum = &there + exact(&ys);
            let expected =
                [there.shallow_clone(), affine(&there), sum.shallow_clone(), affine(&sum), affine(&sum), back]
                    .into_iter()
                    .chain([masked.shallow_clone(), masked + exact(&other)]);
            for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert!(off(found, &expected) < 2e-6, "{what}, {i}: {:e}", off(found, &expected));
                assert!(crate::shim::is_channels_last(found), "{what}, {i}");
            }

            // Oracle: autograd.
            let [xs, weight] = [&xs, &weight].map(|t| t.detach().copy().set_requires_grad(true));
            let gradient = |out: Tensor, d_out: &Tensor, of: &[&Tensor]| {
                Tensor::run_backward(&[(out * d_out).sum(Kind::Double)], of, false, false)
            };
            let ours = on.during(|| {
                let [out] = convolution(&weight, 1).forward(&xs).unwrap();
                gradient(out, &d_out, &[&xs, &weight])
            });
            let [xs, weight] = [&xs, &weight].map(|t| exact(&t.detach()).set_requires_grad(true));
            let plain = xs.conv2d(&weight, None::<Tensor>, by, by, [1, 1], 1);
            for (found, expected) in ours.iter().zip(gradient(plain, &exact(&d_out), &[&xs, &weight])) {
                assert!(off(found, &expected) < 2e-6, "{what}: gradient by {:e}", off(found, &expected));
            }
        }
    }
    let none = |xs: &[i64], weight: &[i64], stride| {
        on.during(|| convolution(&to("w", weight), stride).forward(&to("x", xs))).is_none()
    };
    assert!(none(&[2, 64, 8, 8], &[64, 64, 3, 3], 2), "stride");
    assert!(none(&[2, 64, 8, 6], &[64, 64, 3, 3], 1), "whole tiles");
    assert!(none(&[2, 32, 8, 8], &[64, 32, 3, 3], 1), "few channels");
    assert!(none(&[2, 64, 8, 8], &[64, 64, 1, 1], 1), "1 x 1");
}

pub(super) fn flat_images(on: On) {
    for (shape, held) in SHAPES.iter().flat_map(|shape| KINDS.map(|kind| (*shape, kind))) {
        let to = (held, on.device());
        let [xs, bias] = [images("xs", shape, held, to), images("bias", [1, shape[1], 1, 1], held, to).flatten(0, -1)];
        let [out, d, flat, back] = on.during(|| {
            let out = affine_relu(&xs, None, &bias);
            let d = affine_relu_backward(&xs, &out, None, None);
            let flat = flatten(&xs).unwrap();
            let back = unflatten(&flat, &xs).unwrap();
            [out, d, flat, back]
        });
        let [exact, bias] = [&xs, &bias].map(|t| t.to_device(Device::Cpu).to_kind(Kind::Double));
        let expected = (&exact + bias.view([1, -1, 1, 1])).relu();
        assert_near("bias and ReLU", &out, &expected);
        assert_near("the gradient of that", &d, &(exact * expected.gt(0.0)));
        assert!(flat == xs.flatten(1, -1) && back == xs && crate::shim::is_channels_last(&back));
    }
}

// Oracle: libtorch's operators, to the bit where a kernel rounds as they do.
pub(super) fn both_ends(on: On) {
    let (mean, std) = ([0.4f32, 0.5, 0.3], [0.2f32, 0.3, 0.25]);
    let [mean, std] = [mean, std].map(|t| Tensor::from_slice(&t).view([1, 3, 1, 1]).to_device(on.device()));
    for held in KINDS {
        let xs = images("xs", [3, 3, 5, 7], Kind::Float, (Kind::Float, on.device()));
        let found = on.during(|| normalize(&xs, &mean, &std, held)).unwrap();
        assert!(crate::shim::is_channels_last(&found) && found.equal(&((&xs - &mean) / &std).to_kind(held)));
        let gradient = xs.to_kind(Kind::BFloat16);
        let found = on.during(|| normalize_backward(&gradient, &std)).unwrap();
        assert!(found.equal(&(gradient.to_kind(Kind::Float) / &std)));

        for (shape, outputs) in SHAPES.iter().chain([&[2, 2048, 1, 1], &[2, 512, 4, 4]]).zip([10, 1, 100, 7, 33, 10]) {
            let (n, channels) = (shape[0], shape[1]);
            let to = |name: &str, size: &[i64]| normal(name, size, held).to_device(on.device());
            let (xs, weight) = (images("xs", *shape, held, (held, on.device())), to("w", &[outputs, channels]));
            let (bias, d_out) = (to("b", &[outputs]), to("d", &[n, outputs]).to_kind(Kind::Float));
            let logits = on.during(|| pooled_linear(&xs, &weight, &bias)).unwrap();
            let back = on.during(|| pooled_linear_backward(&d_out, &weight, &xs, None)).unwrap();
            let scale = normal("scale", &[channels], Kind::Float).to_device(on.device());
            let masked = on.during(|| pooled_linear_backward(&d_out, &weight, &xs, Some(&scale))).unwrap();
            let exact = |t: &Tensor| t.to_device(Device::Cpu).to_kind(Kind::Double);
            let mean = exact(&xs).mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
            assert_near("logits", &logits, &mean.linear(&exact(&weight), Some(&exact(&bias))));
            let d_mean = exact(&d_out).matmul(&exact(&weight)) / (shape[2] * shape[3]) as f64;
            assert_near("dx of logits", &back, &d_mean.view([n, channels, 1, 1]).expand_as(&xs));
            let expected = d_mean.view([n, channels, 1, 1]) * by_channel(&exact(&scale)) * exact(&xs).gt(0.0);
            assert_near("dx of logits behind a ReLU", &masked, &expected);
        }
    }
}
