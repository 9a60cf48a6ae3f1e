//! What a training step is made of beside its network.

use super::*;

pub(super) fn batches(on: On) {
    use crate::data::{Augmentations, Augmenting, Padding, Resident, Shift};
    let [count, channels, height, width] = [20, 3, 7, 6];
    let pixels: Vec<u8> = (0..count * channels * height * width).map(|i| (i * 37 % 256) as u8).collect();
    let images = foil_data::Images::new(pixels, (0..count as u16).collect(), [channels, height, width]);
    let batch = |device: Device, shift: Option<Shift>| {
        let [key, rows] = [Tensor::from(77i64), Tensor::from_slice(&[19i64, 3, 3, 0, 7])].map(|t| t.to_device(device));
        let data = Resident::new(&images, device).unwrap();
        let list = shift.map(Augmentations::of_shift);
        let augment = list.as_ref().map(|list| Augmenting { list, key: &key, part: None });
        let [images, ..] = data.batch(&rows, Kind::Float, augment).unwrap();
        images
    };
    let shifts = [Padding::Zero, Padding::Reflect]
        .map(|padding| [(4, true), (2, false)].map(|(pad, flip)| Shift { pad, padding, flip }));
    for shift in shifts.into_iter().flatten().map(Some).chain([None]) {
        let found = on.during(|| batch(on.device(), shift));
        assert!(crate::shim::is_channels_last(&found));
        assert_eq!(found.to_device(Device::Cpu), batch(Device::Cpu, shift), "{shift:?}");
    }
}

pub(super) fn noises(on: On) {
    use crate::nn::{Noise, key_of};
    for key in [key_of(&[3, 4]), -5, 1 << 40] {
        let index = Tensor::from_slice(&[3i64, 49_999, 0, 1 << 33]);
        let draw = |device: Device| {
            let noise = Noise::new(&Tensor::from(key).to_device(device), &index.to_device(device));
            let uniform = noise.uniform("u", &[3, 5, 4], Kind::Float);
            [uniform, noise.normal("n", &[7], Kind::Float), noise.below("b", 9, &[1])]
        };
        let found = on.during(|| draw(on.device())).map(|t| t.to_device(Device::Cpu));
        for (i, (found, expected)) in found.iter().zip(draw(Device::Cpu)).enumerate() {
            let same = if i == 1 { found.allclose(&expected, 1e-5, 1e-6, false) } else { found.equal(&expected) };
            assert!(same && found.kind() == expected.kind(), "draw {i} with {key}");
        }
    }
}

pub(super) fn logit_grads(on: On) {
    use crate::loss::terms;
    for (rows, classes) in [(1, 2), (19, 10), (8, 100), (3, 1000)] {
        let [z, clean] = ["z", "clean"].map(|name| normal(name, &[rows, classes], Kind::Float) * 3.0);
        // Two classes tie, and one of them is a label.
        let _ = z.get(0).narrow(0, 0, 2).fill_(9.0);
        let y = (Tensor::arange(rows, (Kind::Int64, Device::Cpu)) * 7).remainder(classes);
        let of = |[z, clean, y]: [&Tensor; 3]| {
            [
                terms::cross_entropy_grad(z, y),
                terms::kl_grad(clean, z),
                terms::soft_logit_margin_grad(z, y),
                terms::hinged_margin_grad(z, y, 50.0),
                terms::hinged_margin_grad(z, y, 0.0),
                terms::hinged_margin_grad(z, &(y + 2).remainder(classes), 0.5),
            ]
        };
        let [there, clean_there, y_there] = [&z, &clean, &y].map(|t| t.to_device(on.device()));
        let found = on.during(|| of([&there, &clean_there, &y_there]));
        let expected = of([&z.to_kind(Kind::Double), &clean.to_kind(Kind::Double), &y]);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_near(&format!("gradient {i} of {classes}"), found, expected);
        }
    }
}

// Oracle: the plain forms in float64, and autograd through them.
pub(super) fn terms_of_losses(on: On) {
    use crate::loss::terms;
    type Term = (&'static str, fn([&Tensor; 3]) -> Tensor);
    let all: [Term; 5] = [
        ("ce", |[z, _, y]| terms::cross_entropy(z, y)),
        ("label", |[z, _, y]| terms::label_probability(z, y)),
        ("kl", |[z, p, _]| terms::kl(p, z)),
        ("kl above", |[z, p, _]| terms::kl_above(p, z, 1e-3)),
        ("kl to a target", |[z, p, _]| terms::kl(&p.detach(), z)),
    ];
    for (rows, classes) in [(1, 2), (19, 10), (8, 100), (3, 1000)] {
        let [z, p] = ["z", "p"].map(|name| normal(name, &[rows, classes], Kind::Float) * 3.0);
        let y = (Tensor::arange(rows, (Kind::Int64, Device::Cpu)) * 7).remainder(classes);
        let weight = normal("weight", &[rows], Kind::Float);
        for (name, term) in all {
            // Each image's own gradient, and that of a mean, which is one number for all.
            for of_mean in [false, true] {
                let work = |(kind, device): Held| {
                    let [z, p] = [&z, &p].map(|t| t.to_kind(kind).to_device(device).set_requires_grad(true));
                    let value = term([&z, &p, &y.to_device(device)]);
                    let loss = match of_mean {
                        true => value.mean(None::<Kind>),
                        false => (&value * weight.to_kind(kind).to_device(device)).sum(None::<Kind>),
                    };
                    let inputs: &[&Tensor] =
                        if name.contains("kl") && !name.contains("target") { &[&z, &p] } else { &[&z] };
                    let gradients = Tensor::run_backward(&[loss], inputs, false, false);
                    std::iter::once(value.detach()).chain(gradients).collect::<Vec<_>>()
                };
                let before = foil_host_kernels::launches();
                let found = on.during(|| work((Kind::Float, on.device())));
                assert!(
                    matches!(on, On::Gpu) || foil_host_kernels::launches() == before + 2,
                    "{name}: a launch each way"
                );
                for (i, (found, expected)) in found.iter().zip(work((Kind::Double, Device::Cpu))).enumerate() {
                    assert_near(&format!("{name} {i} of {classes}"), found, &expected);
                }
            }
        }
    }
    let z = normal("z", &[2, 3], Kind::Float).to_device(on.device());
    let strange = on.during(|| terms::cross_entropy(&(&z * f64::NAN), &Tensor::zeros([2], (Kind::Int64, on.device()))));
    assert_eq!(strange.isnan().sum(Kind::Int64).int64_value(&[]), 2, "a NaN is not hidden");
    let y = Tensor::from_slice(&[3i64, -1]).to_device(on.device());
    for term in [terms::cross_entropy, terms::label_probability] {
        let strange = on.during(|| term(&z, &y));
        assert_eq!(strange.isnan().sum(Kind::Int64).int64_value(&[]), 2, "a label that is no class");
    }
}

pub(super) fn steps(on: On) {
    for n in [1, 255, 1000] {
        let numbers = |name: &str| normal(name, &[n], Kind::Float).to_device(on.device());
        let [x, g, low, high] = ["x", "g", "low", "high"].map(numbers);
        let (low, high) = (&x - low.abs() * 0.1, &x + high.abs() * 0.1);
        let g = g * numbers("zeros").gt(0.0);
        let alpha = Tensor::from(0.07f64).to_device(on.device());
        let step = || sign_step(&x, &g, &alpha, [&low, &high]);
        assert!((on.during(step) - step()).abs().max().double_value(&[]) < 1e-7);
        // One channel lies in both layouts, whatever its strides say.
        let [one, other] = [x.view([n, 1, 1, 1]), g.view([n, 1, 1, 1]).as_strided([n, 1, 1, 1], [1, 1, 7, 1], None)];
        let [low, high] = [&low, &high].map(|t| t.view([n, 1, 1, 1]));
        assert!(on.during(|| super::sign_step::sign_step_kernel(&one, &other, &alpha, [&low, &high])).is_some());

        for nesterov in [false, true] {
            let [v, u] = ["v", "u"].map(numbers);
            let (rate, [momentum, decay]) = (Tensor::from(0.1f64).to_device(on.device()), [0.9, 0.01]);
            let [exact, g64, u64] = [&v, &g, &u].map(|t| t.to_kind(Kind::Double));
            let with_decay = g64 + &exact * decay;
            let velocity = u64 * momentum + &with_decay;
            let down = if nesterov { with_decay + &velocity * momentum } else { velocity.shallow_clone() };
            assert!(on.during(|| sgd_step([&v, &g, &u], &rate, [momentum, decay], nesterov)));
            assert_near("velocity", &u, &velocity);
            assert_near("values", &v, &(exact - down * 0.1));
        }
    }
}

pub(super) fn gathered_grads(on: On) {
    let there = |name: &str, size: &[i64], kind| normal(name, size, kind).to_device(on.device());
    let (bf16, fp32) = (Kind::BFloat16, Kind::Float);
    // More than one launch takes, and than one block; sizes and places that are and are not a
    // multiple of eight; one that nothing reaches; one that lies otherwise.
    let size = |i: i64| match i % 6 {
        0 => vec![40, 16, 3, 3],
        3 => vec![8, 16, 3, 3],
        _ => vec![i + 1],
    };
    let sizes: Vec<Vec<i64>> = (0..70).map(size).collect();
    let flat = Tensor::zeros([70 * 5760 + 8], (fp32, on.device()));
    let piece = |(i, size): (usize, &Vec<i64>)| {
        let memory = flat.narrow(0, i as i64 * 5760 + i64::from(i > 35), size.iter().product());
        if size.len() == 4 {
            memory.view([size[0], 3, 3, 16]).permute([0, 3, 1, 2])
        } else {
            memory.view(size.as_slice())
        }
    };
    let pieces: Vec<Tensor> = sizes.iter().enumerate().map(piece).collect();
    let from = |(i, size): (usize, &Vec<i64>)| -> Vec<Tensor> {
        let one = |s: usize| there(&format!("{i}.{s}"), size, if (i + s).is_multiple_of(2) { bf16 } else { fp32 });
        let mut all: Vec<Tensor> = (0..i % 5).map(one).collect();
        if let (4, Some(last)) = (size.len(), all.last_mut()) {
            *last = last.contiguous();
        }
        all
    };
    let from: Vec<Vec<Tensor>> = sizes.iter().enumerate().map(from).collect();
    let given: Vec<_> = pieces.iter().map(Tensor::shallow_clone).zip(from).collect();
    on.during(|| gather_grads(&given)).unwrap();
    for (piece, from) in &given {
        let exact = |t: &Tensor| t.to_device(Device::Cpu).to_kind(Kind::Double);
        let expected = from.iter().fold(exact(piece).zeros_like(), |sum, t| sum + exact(t));
        assert_near("a sum of pieces", piece, &expected);
    }
    let touched = given.iter().map(|(piece, _)| piece.abs().sum(Kind::Double).double_value(&[])).sum::<f64>();
    assert!((flat.abs().sum(Kind::Double).double_value(&[]) - touched).abs() < 1e-6 * touched);
}
