//! The surrogate loss of Theorem 2 and what ties it to errors.

use std::f64::consts::LN_2;
use tch::Tensor;

/// phi(z) = log2(1 + exp(-z)), the logistic loss in bits, of margins z = f(X) Y of any shape. It is
/// at least 0, falls, and phi(0) = 1, so it is at least 1 where f is wrong (z <= 0), as both proofs
/// need. Training descends ln 2 times this: the cross-entropy of two logits whose difference is f.
pub fn phi(z: &Tensor) -> Tensor {
    (-z).softplus() / LN_2
}

/// psi of this phi: psi(t) = 1 - h((1 + t) / 2), where h is the entropy of a coin in bits; for t in
/// [0, 1], from 0 to 1.
///
/// The psi-transform of Bartlett, Jordan and McAuliffe, "Convexity, Classification, and Risk
/// Bounds", JASA 2006, Theorem 2 for a convex phi: psi(t) = phi(0) - H((1 + t) / 2), H(p) the least
/// of p phi(a) + (1 - p) phi(-a) over a. For phi that least is at a = ln(p / (1 - p)) and is h(p).
pub fn psi(t: f64) -> f64 {
    let bits = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    1.0 - bits((1.0 + t) / 2.0) - bits((1.0 - t) / 2.0)
}

/// The largest t in [0, 1] with psi(t) <= `excess`, for an excess surrogate risk of 0 or more. From
/// 1 on it is 1: psi ends there, and no 0-1 risk exceeds 1.
pub fn psi_inverse(excess: f64) -> f64 {
    if excess >= 1.0 {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if psi(middle) <= excess { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(z: f64) -> f64 {
        phi(&Tensor::from(z)).double_value(&[])
    }

    // h(3/4) = 2 - 3/4 log2 3, and h(1/2) = 1.
    #[test]
    fn psi_and_its_inverse_have_their_closed_form() {
        let half = 1.0 - (2.0 - 0.75 * 3f64.log2());
        for (t, value) in
            [(0.0, 0.0), (0.5, half), (0.5, 0.188_721_875_540_867), (0.8, 0.531_004_406_410_719), (1.0, 1.0)]
        {
            assert!((psi(t) - value).abs() < 1e-12, "{t}: {}", psi(t));
            assert!((psi_inverse(value) - t).abs() < 1e-7, "{value}: {}", psi_inverse(value));
        }
        assert_eq!((psi_inverse(1.0), psi_inverse(7.0)), (1.0, 1.0));
    }

    // From the definition: the least conditional phi-risk where the sign is wrong, less the least
    // of all.
    #[test]
    fn psi_is_what_bartlett_and_others_define() {
        for t in [0.1, 0.4, 0.7, 0.95] {
            let p = (1.0 + t) / 2.0;
            let risk = |a: f64| p * loss(a) + (1.0 - p) * loss(-a);
            let least =
                |from: i32, to: i32| (from..=to).map(|n| risk(f64::from(n) / 200.0)).fold(f64::INFINITY, f64::min);
            assert!((least(-1600, 0) - least(-1600, 1600) - psi(t)).abs() < 1e-4, "{t}");
        }
    }

    #[test]
    fn phi_counts_a_wrong_answer_as_one_at_least() {
        assert!((loss(0.0) - 1.0).abs() < 1e-12 && loss(-3.0) > 1.0 && loss(3.0) > 0.0 && loss(3.0) < 1.0);
        assert!((loss(1.0) - (1.0 + (-1f64).exp()).log2()).abs() < 1e-12);
        assert_eq!(loss(f64::INFINITY), 0.0);
    }
}
