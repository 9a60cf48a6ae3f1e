//! Draws that several augmentations make.

use foil::prelude::*;

/// Whether each image is changed, `[N, 1]` booleans, each with this probability.
pub fn happens(noise: &Noise, name: &str, probability: f64) -> Tensor {
    noise.uniform(name, &[1], Kind::Double).lt(probability)
}

/// How often a draw is repeated until it is accepted. One in twenty is refused, so that all of
/// these are refused less than once in 10^20.
const TRIES: i64 = 16;

/// Numbers from the Beta(alpha, alpha) distribution, `[N]` double: the share of one of two gamma
/// variates (Marsaglia & Tsang 2000, ACM TOMS 26:363) in their sum. They are kept as logarithms,
/// since for a small alpha both may be too small for a floating-point number.
pub fn beta(noise: &Noise, name: &str, alpha: f64) -> Tensor {
    if let Some(given) = noise.given(name) {
        return given;
    }
    let [first, second] = ["a", "b"].map(|one| log_gamma_variate(noise, &format!("{name}.{one}"), alpha));
    (first - second).sigmoid()
}

/// Logarithms of numbers from the Gamma(`alpha`, 1) distribution, `[N]` double.
fn log_gamma_variate(noise: &Noise, name: &str, alpha: f64) -> Tensor {
    // Gamma(alpha) is Gamma(alpha + 1) times U^(1 / alpha), which is right for every alpha.
    let d = alpha + 1.0 - 1.0 / 3.0;
    let z = noise.normal(&format!("{name}.z"), &[TRIES], Kind::Double);
    let u: Tensor = 1.0 - noise.uniform(&format!("{name}.u"), &[TRIES], Kind::Double);
    let v = (&z / (9.0 * d).sqrt() + 1.0).pow_tensor_scalar(3);
    let log_v = v.clamp_min(f64::MIN_POSITIVE).log();
    let accepted = u.log().lt_tensor(&(z.square() * 0.5 + d - &v * d + &log_v * d)).logical_and(&v.gt(0.0));
    let first = accepted.to_kind(Kind::Uint8).argmax(1, true);
    let log_v = log_v.gather(1, &first, false).squeeze_dim(1);
    let boost: Tensor = 1.0 - noise.uniform(&format!("{name}.boost"), &[1], Kind::Double).squeeze_dim(1);
    log_v + d.ln() + boost.log() / alpha
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Mean 1/2 and variance 1/(4 (2 alpha + 1)), symmetric, and for alpha 1 uniform.
    #[test]
    fn beta_numbers_have_their_distribution() {
        for alpha in [0.05, 0.2, 1.0, 4.0] {
            let n = 20_000;
            let found = beta(&Noise::seeded(&[5], n, Device::Cpu), "lam", alpha);
            assert!(found.min().double_value(&[]) >= 0.0 && found.max().double_value(&[]) <= 1.0);
            let variance = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            let error = 5.0 * (variance / n as f64).sqrt();
            assert!((found.mean(Kind::Double).double_value(&[]) - 0.5).abs() < error, "{alpha}");
            let spread = (&found - 0.5).square();
            let expected = spread.mean(Kind::Double).double_value(&[]);
            let error = 5.0 * (spread.var(true).double_value(&[]) / n as f64).sqrt();
            assert!((expected - variance).abs() < error, "{alpha}: {expected} {variance}");
            if alpha == 1.0 {
                let counts = Vec::<f64>::try_from(
                    (found * 16.0)
                        .floor()
                        .clamp_max(15.0)
                        .to_kind(Kind::Int64)
                        .bincount::<Tensor>(None, 16)
                        .to_kind(Kind::Double),
                )
                .unwrap();
                let chi2: f64 = counts.iter().map(|c| (c - n as f64 / 16.0).powi(2) / (n as f64 / 16.0)).sum();
                assert!(chi2 < 50.0, "{counts:?}");
            }
        }
    }
}
