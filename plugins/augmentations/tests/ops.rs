//! Each operation on a small picture, against what `make.py` found, one pixel at a time.

use foil::prelude::*;
use foil::tensors::{Named, read};
use foil_augmentations::ops::{Moving, Op, by_choice};
use std::path::Path;

/// What `make.py` found.
fn expected() -> Named {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ops.safetensors")).unwrap().0
}

const POLICY: Moving = Moving { cubic_shear: true, fill: 128 };

/// All pictures with this word in their name, each by its number in one batch: amounts differ
/// within it.
fn check(name: &str, op: Op, moving: Moving) {
    let all = expected();
    let of_op: Vec<(&String, &Tensor)> = all.iter().filter(|(key, _)| key.split(' ').next() == Some(name)).collect();
    assert!(of_op.len() > 1, "{name}");
    let amounts: Vec<f64> = of_op.iter().map(|(key, _)| key.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    let n = amounts.len() as i64;
    let images = all["picture"].unsqueeze(0).expand([n, -1, -1, -1], false);
    let found = by_choice(
        &images,
        &Tensor::zeros([n, 1], (Kind::Int64, tch::Device::Cpu)),
        &[(op, Tensor::from_slice(&amounts).view([-1, 1]))],
        moving,
    );
    for (i, (key, expected)) in of_op.into_iter().enumerate() {
        assert_eq!(found.get(i as i64), *expected, "{key}");
    }
}

#[test]
fn operations_with_an_amount_equal_pil_pixel_by_pixel() {
    for (name, op) in [
        ("brightness", Op::Brightness),
        ("contrast", Op::Contrast),
        ("colour", Op::Colour),
        ("sharpness", Op::Sharpness),
        ("hue", Op::Hue),
        ("posterize", Op::Posterize),
        ("solarize", Op::Solarize),
        ("rotate", Op::Rotate),
        ("shear_x", Op::ShearX),
        ("shear_y", Op::ShearY),
        ("translate_x", Op::TranslateX),
        ("translate_y", Op::TranslateY),
    ] {
        check(name, op, POLICY);
    }
    check("nearest_shear_x", Op::ShearX, Moving { cubic_shear: false, fill: 0 });
}

#[test]
fn operations_on_histograms_equal_pil_pixel_by_pixel() {
    let all = expected();
    let dull = all["picture"].divide_scalar_mode(2, "floor") + 30i64;
    let dull = dull.to_kind(Kind::Uint8);
    for (name, images, op) in [("autocontrast", &dull, Op::Autocontrast), ("equalize", &all["large"], Op::Equalize)] {
        let images = Tensor::stack(&[&images.zeros_like(), images], 0);
        let one = Tensor::ones([2, 1], (Kind::Double, tch::Device::Cpu));
        let found = by_choice(&images, &one.zeros_like(), &[(op, one)], POLICY);
        assert_eq!(found.get(1), all[name], "{name}");
        // One colour has nothing to stretch.
        assert_eq!(found.get(0), images.get(0), "{name}");
    }
}

#[test]
fn each_image_gets_the_operation_that_it_chose() {
    let picture = expected()["picture"].shallow_clone();
    let images = picture.unsqueeze(0).expand([3, -1, -1, -1], false);
    let amount = Tensor::from_slice(&[0.0, 0.0, 0.0]).view([3, 1]);
    let ops = [(Op::Identity, amount.shallow_clone()), (Op::Brightness, amount.shallow_clone()), (Op::Invert, amount)];
    let found = by_choice(&images, &Tensor::from_slice(&[2i64, -1, 1]).view([3, 1]), &ops, POLICY);
    let whole = picture.to_kind(Kind::Int64);
    assert_eq!(found.get(0).to_kind(Kind::Int64) + &whole, whole.full_like(255));
    assert_eq!(found.get(1), picture);
    assert_eq!(found.get(2), picture.zeros_like());
}
