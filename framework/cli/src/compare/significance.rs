//! Whether two methods differ.
//!
//! What is compared decides what is drawn. Two methods, each trained with several seeds, are
//! compared over seeds: Welch's t test of their accuracies (Welch, "The generalization of Student's
//! problem when several different population variances are involved", Biometrika 34, 1947), on this
//! set of test images. With one seed only that pair of networks can be compared, on images of the
//! same kind: McNemar's test in its exact form (McNemar, "Note on the sampling error of the
//! difference between correlated proportions", Psychometrika 12, 1947); it says nothing of the
//! methods, whose next seeds may differ by more than these two networks do. The interval is in each
//! case that of the test: it leaves out 0 where p is below 0.05.

use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF, StudentsT};

/// What is drawn at random in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seeds: two methods are compared.
    Seeds,
    /// Images: two networks are compared.
    Images,
}

/// One row of a table against another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// What is drawn at random.
    pub unit: Unit,
    /// Seeds of the one and of the other.
    pub seeds: [usize; 2],
    /// Accuracy of the one minus accuracy of the other, in points.
    pub points: f64,
    /// The lower end of the test's 95 % interval, in points.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Two-sided p-value of the test by itself.
    pub p: f64,
    /// The p-value after Holm's correction for all tests of its table; `p` if it is the only one.
    pub p_holm: f64,
}

/// Fewer seeds than this are called few.
pub const FEW: usize = 5;

/// The accuracies of two methods over their seeds, in percent of `images`; none where either has
/// fewer than two.
///
/// An accuracy is a multiple of 100 / `images`, which adds a variance: two seeds that agree by
/// chance prove nothing.
pub fn of_methods(a: &[f64], b: &[f64], images: u64) -> Option<Difference> {
    if a.len() < 2 || b.len() < 2 || images == 0 {
        return None;
    }
    let rounding = (100.0 / images as f64).powi(2) / 12.0;
    let ([mean_a, of_a], [mean_b, of_b]) = (mean_and_error(a, rounding), mean_and_error(b, rounding));
    let degrees = (of_a + of_b).powi(2) / (of_a.powi(2) / (a.len() - 1) as f64 + of_b.powi(2) / (b.len() - 1) as f64);
    let (points, error) = (mean_a - mean_b, (of_a + of_b).sqrt());
    let t = StudentsT::new(0.0, 1.0, degrees).ok()?;
    let (p, reach) = (2.0 * t.cdf(-(points / error).abs()), error * t.inverse_cdf(0.975));
    let seeds = [a.len(), b.len()];
    Some(Difference { unit: Unit::Seeds, seeds, points, low: points - reach, high: points + reach, p, p_holm: p })
}

/// The mean, and the variance of the mean.
fn mean_and_error(values: &[f64], rounding: f64) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    [mean, (squares / (n - 1.0) + rounding) / n]
}

/// Two networks by whether they are right on each image of a test set; none when there are no
/// images, or not as many for both.
///
/// The interval is Clopper and Pearson's (1934) for the share of the images on which the two
/// disagree that go to the one, times the number of these images.
pub fn of_networks(a: &[bool], b: &[bool]) -> Option<Difference> {
    let n = a.len() as f64;
    if a.is_empty() || a.len() != b.len() {
        return None;
    }
    let count = |right: bool| a.iter().zip(b).filter(|(a, b)| a != b && **a == right).count() as u64;
    let (better, worse) = (count(true), count(false));
    let disagree = (better + worse) as f64;
    let points = |share: f64| 100.0 * disagree * (2.0 * share - 1.0) / n;
    let (low, high) = (share_at(0.025, better, worse + 1), share_at(0.975, better + 1, worse));
    let p = exact(better, worse);
    Some(Difference {
        unit: Unit::Images,
        seeds: [1, 1],
        points: 100.0 * (better as f64 - worse as f64) / n,
        low: points(low),
        high: points(high),
        p,
        p_holm: p,
    })
}

/// A quantile of the beta distribution; where one of its numbers is 0 all of it is at an end.
fn share_at(quantile: f64, a: u64, b: u64) -> f64 {
    match Beta::new(a as f64, b as f64) {
        Ok(beta) => beta.inverse_cdf(quantile),
        Err(_) => f64::from(u8::from(b == 0)),
    }
}

/// Corrects the p-values of tests that are read together (Holm, "A simple sequentially rejective
/// multiple test procedure", Scand. J. Statist. 6, 1979): of `m` p-values in ascending order the
/// i-th, from 0, is multiplied by `m - i`; none becomes less than the one before it, nor above 1.
/// If those below 0.05 are called real, the chance of being wrong about any of them is at most 5 %,
/// however the tests depend on each other.
pub fn correct<'a>(tests: impl IntoIterator<Item = &'a mut Difference>) {
    let mut tests: Vec<&mut Difference> = tests.into_iter().collect();
    tests.sort_by(|a, b| a.p.total_cmp(&b.p));
    let (all, mut least) = (tests.len(), 0.0f64);
    for (i, test) in tests.into_iter().enumerate() {
        least = least.max(test.p * (all - i) as f64).min(1.0);
        test.p_holm = least;
    }
}

/// The two-sided exact test of `better` against `worse` under a fair coin: twice the smaller tail,
/// at most 1.
pub fn exact(better: u64, worse: u64) -> f64 {
    let (n, fewer) = (better + worse, better.min(worse));
    // In logarithms, since 2^-n is not a number from n = 1075 on.
    let (mut term, mut terms) = (-(n as f64) * std::f64::consts::LN_2, Vec::new());
    for k in 0..=fewer {
        terms.push(term);
        term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let tail: f64 = terms.iter().map(|term| (term - largest).exp()).sum();
    (2.0 * tail * largest.exp()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // from math import comb
    // p = lambda k, n: min(1, 2 * sum(comb(n, i) for i in range(min(k, n - k) + 1)) / 2**n)
    // p(2, 12), p(5, 10), p(0, 0), p(40, 100)   # 0.03857421875 1 1 0.05688793364098079
    #[test]
    fn the_exact_test_is_the_binomial_sum() {
        for (better, worse, p) in
            [(2, 10, 0.03857421875), (10, 2, 0.03857421875), (5, 5, 1.0), (0, 0, 1.0), (40, 60, 0.05688793364098079)]
        {
            assert!((exact(better, worse) - p).abs() < 1e-12, "{better} {worse}: {}", exact(better, worse));
        }
        assert!(exact(4, 1200) < 1e-300);
        assert!((exact(2500, 2500) - 1.0).abs() < 1e-12);
    }

    // from scipy import stats
    // a, b = [55.3, 54.8, 56.1], [53.9, 54.4, 54.0]
    // r = stats.ttest_ind(a, b, equal_var=False); r.pvalue, r.confidence_interval()
    // # 0.05968127428808801, (-0.1074510220310192, 2.7074510220310133); of [90, 94], [60, 63]:
    // # 0.008745854701797392, (18.893394577525143, 42.10660542247486)
    #[test]
    fn methods_are_compared_by_welchs_test() {
        for (a, b, p, [low, high]) in [
            (&[55.3, 54.8, 56.1][..], &[53.9, 54.4, 54.0][..], 0.05968127428808801, [-0.1074510220, 2.7074510220]),
            (&[90.0, 94.0], &[60.0, 63.0], 0.008745854701797392, [18.8933945775, 42.1066054225]),
        ] {
            // Enough images that rounding adds nothing.
            let found = of_methods(a, b, 1 << 40).unwrap();
            let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
            assert!(near(found.p, p) && near(found.low, low) && near(found.high, high), "{found:?}");
            assert_eq!((found.unit, found.seeds), (Unit::Seeds, [a.len(), b.len()]));
        }
        let equal = of_methods(&[50.0, 50.0], &[50.0, 50.0], 100).unwrap();
        assert_eq!((equal.points, equal.p), (0.0, 1.0));
        let near = of_methods(&[51.0, 51.0], &[50.0, 50.0], 100).unwrap();
        assert!(near.p > 0.05, "an image more on two equal seeds proves nothing: {near:?}");
        assert_eq!(of_methods(&[50.0], &[50.0, 51.0], 100), None);
    }

    // scipy.stats.binomtest(30, 40).proportion_ci(0.95, "exact")   # 0.5880380198484636,
    //     0.8730852010671533
    // binomtest(0, 5): 0, 0.5218237501049814
    #[test]
    fn networks_are_compared_by_the_images_on_which_they_disagree() {
        let a: Vec<bool> = (0..1000).map(|i| !(30..40).contains(&i) && i < 800).collect();
        let b: Vec<bool> = (0..1000).map(|i| (30..800).contains(&i)).collect();
        let found = of_networks(&a, &b).unwrap();
        assert!((found.points - 2.0).abs() < 1e-12 && (found.p - exact(30, 10)).abs() < 1e-15);
        let points = |share: f64| 4.0 * (2.0 * share - 1.0);
        let (low, high) = (points(0.5880380198484636), points(0.8730852010671533));
        assert!((found.low - low).abs() < 1e-6 && (found.high - high).abs() < 1e-6, "{found:?}");
        let back = of_networks(&b, &a).unwrap();
        assert_eq!((back.points, back.p), (-found.points, found.p));
        let worse = of_networks(&[false; 5], &[true; 5]).unwrap();
        assert!((worse.low + 100.0).abs() < 1e-9 && (worse.high - 100.0 * (2.0 * 0.5218237501 - 1.0)).abs() < 1e-6);
        let same = of_networks(&[true; 5], &[true; 5]).unwrap();
        assert_eq!((same.points, same.low, same.high, same.p), (0.0, 0.0, 0.0, 1.0));
        assert_eq!(of_networks(&[true; 4], &[true; 5]), None);
        assert_eq!(of_networks(&[], &[]), None);
    }

    // R: p.adjust(p, "holm"), which is pmin(1, cummax((n - i + 1) * p[i])) over ascending p,
    // i from 1. p = c(0.01, 0.04, 0.03, 0.005): ascending 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1
    // -> 0.02 0.03 0.06 0.04, and 0.04 becomes 0.06. p = c(0.5, 0.4, 0.012): 0.036, then 0.8, then
    // 0.5, which becomes 0.8. p = c(0.6, 0.7): 1.2 and 0.7, both become 1.
    #[test]
    fn holms_correction_is_rs() {
        let family = |p: &[f64]| -> Vec<f64> {
            let test = |&p: &f64| Difference { p, p_holm: p, ..of_networks(&[true], &[true]).unwrap() };
            let mut tests: Vec<Difference> = p.iter().map(test).collect();
            correct(&mut tests);
            tests.iter().map(|test| test.p_holm).collect()
        };
        let examples: [(&[f64], &[f64]); 5] = [
            (&[0.01, 0.04, 0.03, 0.005], &[0.03, 0.06, 0.06, 0.02]),
            (&[0.5, 0.4, 0.012], &[0.8, 0.8, 0.036]),
            (&[0.6, 0.7], &[1.0, 1.0]),
            (&[0.2], &[0.2]),
            (&[], &[]),
        ];
        for (p, expected) in examples {
            let found = family(p);
            let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(near && found.len() == expected.len(), "{p:?}: {found:?}, not {expected:?}");
        }
    }

    /// A method's accuracies over seeds, from two levels: a seed moves the accuracy by a normal
    /// number of deviation 1 point, and 1,000 images are right or wrong, some easy, some hard.
    fn seeds(n: usize, mean: f64, random: &mut fastrand::Rng) -> Vec<f64> {
        let one = |random: &mut fastrand::Rng| {
            let normal = (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos();
            let share = (mean + normal) / 100.0;
            let right = |i: usize, random: &mut fastrand::Rng| random.f64() < share * (0.5 + i as f64 / 1000.0);
            (0..1000).filter(|&i| right(i, random)).count() as f64 / 10.0
        };
        (0..n).map(|_| one(random)).collect()
    }

    /// Of this many pairs of methods `apart` points apart, the share in percent that the test calls
    /// different.
    fn found(n: usize, apart: f64, trials: usize) -> f64 {
        let mut random = fastrand::Rng::with_seed(n as u64);
        let below = |_: &usize| {
            let (a, b) = (seeds(n, 50.0 + apart, &mut random), seeds(n, 50.0, &mut random));
            of_methods(&a, &b, 1000).unwrap().p < 0.05
        };
        100.0 * (0..trials).filter(below).count() as f64 / trials as f64
    }

    /// A seed's accuracy varies by about 1.8 points here (1 of the seed, 1.5 of the images).
    /// Methods that do not differ are called different in at most 5 % of the comparisons, which
    /// 2,000 trials show to a point. The power is that of the t test (scipy, normal accuracies: 3
    /// deviations apart 20, 68 and 98 % with 2, 3 and 5 seeds).
    #[test]
    fn error_rate_and_power_over_seeds() {
        for n in [2, 3, 5] {
            let wrong = found(n, 0.0, 2000);
            assert!(wrong <= 6.0, "{n} seeds: {wrong} % of equal methods are called different");
        }
        for (n, expected) in [(2, 20.0), (3, 68.0), (5, 98.0)] {
            let power = found(n, 3.0 * 1.8, 500);
            assert!((power - expected).abs() < 8.0, "{n} seeds: {power} % are found, not {expected} %");
        }
    }

    /// Two networks that are equally good on images of this kind, and disagree on a tenth of them.
    #[test]
    fn error_rate_over_images_and_of_the_family() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut pair = || {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for _ in 0..500 {
                let (both, differ, first) = (random.f64() < 0.7, random.f64() < 0.1, random.bool());
                a.push(if differ { first } else { both });
                b.push(if differ { !first } else { both });
            }
            of_networks(&a, &b).unwrap()
        };
        let (trials, mut single, mut any) = (300, 0, 0);
        for _ in 0..trials {
            let mut family: Vec<Difference> = (0..10).map(|_| pair()).collect();
            correct(&mut family);
            single += family.iter().filter(|one| one.p < 0.05).count();
            any += usize::from(family.iter().any(|one| one.p_holm < 0.05));
            for one in &family {
                assert_eq!(one.p < 0.05, one.low > 0.0 || one.high < 0.0, "interval and p agree: {one:?}");
            }
        }
        let percent = |count: usize, of: usize| 100.0 * count as f64 / of as f64;
        assert!(percent(single, 10 * trials) <= 5.5, "{} % of equal networks", percent(single, 10 * trials));
        assert!(percent(any, trials) <= 7.0, "{} % of families of ten", percent(any, trials));
    }
}
