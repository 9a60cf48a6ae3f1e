//! A tensor in a few numbers, so that what another program computed can be committed. Shared by the
//! tests that hold a step against such numbers.

use serde_json::{Value, json};
use tch::{Kind, Tensor};

/// Numbers in [0, 1), multiples of 2^-24, that look random and are a function of place and `salt`.
pub fn scattered(shape: &[i64], salt: u32) -> Tensor {
    let hash = |i: u32| {
        let h = (i.wrapping_mul(0x9e37_79b1)) ^ salt.wrapping_mul(0x85eb_ca6b);
        let h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
        let h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
        (h ^ (h >> 15)) >> 8
    };
    let n = shape.iter().product::<i64>() as u32;
    let numbers: Vec<f32> = (0..n).map(|i| hash(i) as f32 / 16_777_216.0).collect();
    Tensor::from_slice(&numbers).view(shape)
}

/// Eight of the tensor's own numbers (all, if it has fewer), its largest, its norm, and its sum
/// under scattered signs, which no swap or change of a single number leaves alone.
pub fn digest(tensor: &Tensor) -> Value {
    let flat = tensor.to_kind(Kind::Double).contiguous().view(-1);
    let n = flat.numel() as i64;
    let places: Vec<i64> = (0..8.min(n)).map(|k| k * n / 8.min(n)).collect();
    let sample = Vec::<f64>::try_from(flat.index_select(0, &Tensor::from_slice(&places))).unwrap();
    let signs: Tensor = scattered(&[n], 3).gt(0.5).to_kind(Kind::Double) * 2.0 - 1.0;
    json!({
        "shape": tensor.size(),
        "largest": flat.abs().max().double_value(&[]),
        "norm": flat.norm().double_value(&[]),
        "signed": (&flat * signs).sum(Kind::Double).double_value(&[]),
        "sample": sample,
    })
}

/// What is different in two digests of one tensor: each number by more than `tolerance` of the
/// tensor's largest or of its norm.
pub fn difference(name: &str, ours: &Value, theirs: &Value, tolerance: f64) -> Option<String> {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let close = |a: &Value, b: &Value, scale: f64| (number(a) - number(b)).abs() <= tolerance * scale.max(1e-4);
    let (largest, norm) = (number(&theirs["largest"]), number(&theirs["norm"]));
    let samples = ours["sample"].as_array()?.iter().zip(theirs["sample"].as_array()?);
    let same = ours["shape"] == theirs["shape"]
        && close(&ours["largest"], &theirs["largest"], largest)
        && close(&ours["norm"], &theirs["norm"], norm)
        && close(&ours["signed"], &theirs["signed"], norm)
        && samples.into_iter().all(|(a, b)| close(a, b, largest));
    (!same).then(|| format!("{name}\n  foil  {ours}\n  other {theirs}"))
}
