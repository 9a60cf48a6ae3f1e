//! Whether two methods differ on the same images.
//!
//! There are two figures, and neither is enough alone. The exact test uses the images on which the
//! two disagree: if they were equally good, each of these would be a fair coin flip (McNemar, "Note
//! on the sampling error of the difference between correlated proportions", Psychometrika 12, 1947,
//! in its exact form). Over several seeds a method's answer to an image is the share of its seeds
//! that are right, and images on which the shares are equal say nothing: the sign test, which with
//! one seed is McNemar's. It knows nothing of how much a training run depends on its seed. The
//! bootstrap does: each replicate draws images, the same for both methods, and seeds, each method's
//! own, with replacement (Efron, "Bootstrap methods: another look at the jackknife", 1979).

/// A method on the images of a test set: for each of its seeds, whether it is right on each image.
pub type Answers<'a> = [&'a [bool]];

/// One method against another.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Difference {
    /// Accuracy of the one minus accuracy of the other, in points.
    pub points: f64,
    /// The middle 95 % of the bootstrap's differences, in points.
    pub low: f64,
    /// Its other end.
    pub high: f64,
    /// Images on which the one is better.
    pub better: u64,
    /// Images on which the other is.
    pub worse: u64,
    /// Two-sided p-value of the exact test, uncorrected.
    pub p: f64,
    /// The p-value after Holm's correction for all tests of its table; `p` if it is the only one.
    pub p_holm: f64,
}

/// Replicates of the bootstrap.
pub const REPLICATES: usize = 1000;
/// The most seeds that are used: the table of subsets has 2 to their number rows.
const MOST_SEEDS: usize = 12;

/// `a` against `b`; `None` if they have no seeds, no images, or different numbers of images.
pub fn difference(a: &Answers, b: &Answers) -> Option<Difference> {
    let (a, b) = (&a[..a.len().min(MOST_SEEDS)], &b[..b.len().min(MOST_SEEDS)]);
    let n = a.first()?.len();
    if n == 0 || b.is_empty() || a.iter().chain(b).any(|seed| seed.len() != n) {
        return None;
    }
    let (codes_a, codes_b) = (codes(a, n), codes(b, n));
    let shares = |codes: &[usize], seeds: usize| -> Vec<f64> {
        codes.iter().map(|code| f64::from(code.count_ones()) / seeds as f64).collect()
    };
    let (share_a, share_b) = (shares(&codes_a, a.len()), shares(&codes_b, b.len()));
    let pairs = || share_a.iter().zip(&share_b);
    let better = pairs().filter(|(a, b)| a > b).count() as u64;
    let worse = pairs().filter(|(a, b)| a < b).count() as u64;
    let points = 100.0 * pairs().map(|(a, b)| a - b).sum::<f64>() / n as f64;
    let (low, high) = interval(&codes_a, a.len(), &codes_b, b.len());
    let p = exact(better, worse);
    Some(Difference { points, low, high, better, worse, p, p_holm: p })
}

/// Corrects the p-values of tests that are read together (Holm, "A simple sequentially rejective
/// multiple test procedure", Scand. J. Statist. 6, 1979): of `m` p-values in ascending order the
/// i-th, from 0, is multiplied by `m - i`; none becomes less than the one before it, nor more than 1.
/// If those below 0.05 are called real, the chance of being wrong about any of them is at most 5
/// %, however the tests depend on each other.
pub fn correct<'a>(tests: impl IntoIterator<Item = &'a mut Difference>) {
    let mut tests: Vec<&mut Difference> = tests.into_iter().collect();
    tests.sort_by(|a, b| a.p.total_cmp(&b.p));
    let (all, mut least) = (tests.len(), 0.0f64);
    for (i, test) in tests.into_iter().enumerate() {
        least = least.max(test.p * (all - i) as f64).min(1.0);
        test.p_holm = least;
    }
}

/// For each image the set of seeds that are right, as bits.
fn codes(seeds: &Answers, n: usize) -> Vec<usize> {
    (0..n).map(|image| seeds.iter().enumerate().map(|(bit, seed)| usize::from(seed[image]) << bit).sum()).collect()
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

/// The middle 95 % of the differences over replicates, in points. Deterministic: the same for the
/// same answers.
fn interval(a: &[usize], seeds_a: usize, b: &[usize], seeds_b: usize) -> (f64, f64) {
    let n = a.len();
    let mut random = fastrand::Rng::with_seed(0);
    let mut drawn: Vec<f64> = (0..REPLICATES)
        .map(|_| {
            let (value_a, value_b) = (subset_values(seeds_a, &mut random), subset_values(seeds_b, &mut random));
            let sum: f64 = (0..n)
                .map(|_| {
                    let image = random.usize(..n);
                    value_a[a[image]] - value_b[b[image]]
                })
                .sum();
            100.0 * sum / n as f64
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[((REPLICATES - 1) as f64 * share).round() as usize];
    (at(0.025), at(0.975))
}

/// Draws seeds with replacement; for each set of seeds that may be right, the share of the drawn
/// ones that are in it.
fn subset_values(seeds: usize, random: &mut fastrand::Rng) -> Vec<f64> {
    let mut weights = vec![0.0; seeds];
    (0..seeds).for_each(|_| weights[random.usize(..seeds)] += 1.0 / seeds as f64);
    let share = |set: usize| (0..seeds).filter(|bit| set >> bit & 1 == 1).map(|bit| weights[bit]).sum();
    (0..1 << seeds).map(share).collect()
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

    // R: p.adjust(p, "holm"), which is pmin(1, cummax((n - i + 1) * p[i])) over ascending p, i from 1.
    // p = c(0.01, 0.04, 0.03, 0.005): ascending 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1 -> 0.02 0.03 0.06 0.04, and 0.04 becomes 0.06.
    // p = c(0.5, 0.4, 0.012): 0.036, then 0.8, then 0.5, which becomes 0.8. p = c(0.6, 0.7): 1.2 and 0.7, both become 1.
    #[test]
    fn holms_correction_is_rs() {
        let family = |p: &[f64]| -> Vec<f64> {
            let test = |&p: &f64| Difference { points: 0.0, low: 0.0, high: 0.0, better: 0, worse: 0, p, p_holm: p };
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

    /// 1000 images, 30 on which only a is right and 10 on which only b is. The normal approximation
    /// of the interval is 2 ± 1.96 · sqrt(40 - 400/1000)/10 = 2 ± 1.233 points.
    #[test]
    fn one_seed_each() {
        let a: Vec<bool> = (0..1000).map(|i| !(30..40).contains(&i) && i < 800).collect();
        let b: Vec<bool> = (0..1000).map(|i| (30..800).contains(&i)).collect();
        let found = difference(&[&a], &[&b]).unwrap();
        assert_eq!((found.better, found.worse), (30, 10));
        assert!((found.points - 2.0).abs() < 1e-12 && (found.p - exact(30, 10)).abs() < 1e-15);
        assert!((found.low - 0.767).abs() < 0.25 && (found.high - 3.233).abs() < 0.25, "{found:?}");
        assert_eq!(difference(&[&a], &[&b]), Some(found), "the same answers give the same interval");
        let back = difference(&[&b], &[&a]).unwrap();
        assert_eq!((back.points, back.better, back.p), (-found.points, found.worse, found.p));
    }

    /// Two seeds that differ by 20 points: images alone would call a difference of 10 certain,
    /// seeds do not.
    #[test]
    fn seeds_widen_the_interval() {
        let right = |n: usize| -> Vec<bool> { (0..1000).map(|i| i < n).collect() };
        let (high, low, middle) = (right(900), right(700), right(700));
        let found = difference(&[&high, &low], &[&middle, &middle]).unwrap();
        assert!((found.points - 10.0).abs() < 1e-9 && found.p < 1e-10, "{found:?}");
        assert!(found.low < 1.0 && found.high > 19.0, "{found:?}");
        let (alone, mean) = (right(800), right(700));
        let narrow = difference(&[&alone], &[&mean]).unwrap();
        assert!(narrow.high - narrow.low < 5.0, "{narrow:?}");
    }

    #[test]
    fn what_cannot_be_paired_is_not() {
        let (a, b) = ([true; 4], [true; 5]);
        assert_eq!(difference(&[&a], &[&b]), None);
        assert_eq!(difference(&[], &[&b]), None);
        assert_eq!(difference(&[&[]], &[&[]]), None);
    }
}
