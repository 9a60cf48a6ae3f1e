//! Which images the steps of an epoch take where two sets are mixed.
//!
//! Each batch has the same number of images of either set. Those of the base set come in the
//! epoch's order, each at most once; those of the extra set are drawn with replacement, as in the
//! codes of Gowal et al. 2021 and Wang et al. 2023. An epoch has as many steps as the base set
//! alone would have.

use crate::distributed::Share;
use crate::nn::{key_of, name_key};

/// How two sets are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mixture {
    /// Images of the base set.
    base: i64,
    /// Images of the extra set.
    extra: i64,
    /// Images of a batch.
    size: i64,
    /// Those of them that are of the extra set.
    drawn: i64,
}

/// The images that a rank takes in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// The places of those of the base set in the epoch's order: the first one, and how many.
    pub base: (i64, i64),
    /// The rows of those of the extra set.
    pub rows: Vec<i64>,
    /// The numbers of these draws within the epoch, counted from 0 over all its steps.
    pub numbers: Vec<i64>,
    /// How both are put together: for each place in the batch its place among the base images
    /// followed by the extra ones.
    pub order: Vec<i64>,
}

impl Mixture {
    /// Batches of `size` images of which the `share`, rounded down, is of the extra set; `None`
    /// where that leaves no image of one of the sets.
    pub fn new(base: i64, extra: i64, size: i64, share: f64) -> Option<Self> {
        // In binary64, as the published codes compute it: 512 * 0.7 is 358, 90 * 0.7 is 62.
        let drawn = (size as f64 * share) as i64;
        (0 < drawn && drawn < size && base > 0 && extra > 0).then_some(Self { base, extra, size, drawn })
    }

    /// Images of a batch that are of the extra set.
    pub fn drawn(&self) -> i64 {
        self.drawn
    }

    /// Where the base images of `step` begin in the epoch's order, and their number. Of a last
    /// batch, the base set may have fewer left than a batch has of it; the extra set fills it up.
    fn of_base(&self, step: i64) -> (i64, i64) {
        let each = self.size - self.drawn;
        let first = (step * each).min(self.base);
        (first, each.min(self.base - first))
    }

    /// The draws of an epoch of `steps` steps.
    pub fn draws(&self, steps: i64) -> i64 {
        (0..steps).map(|step| self.size - self.of_base(step).1).sum()
    }

    /// The images of `step` that are in `share` of its batch. The draws follow from `key`, the
    /// seed and the epoch, and from nothing else.
    ///
    /// The images of both sets take turns, so that every rank has both in the same proportion.
    pub fn draw(&self, key: &[u64], step: i64, share: Share) -> Drawn {
        let (first, own) = self.of_base(step);
        let extra = self.size - own;
        // Extra images among the first `n` of the batch.
        let before = |n: i64| n * extra / self.size;
        let (start, count) = share.rows();
        let (from, to) = (before(start), before(start + count));
        let base = (first + start - from, count - (to - from));
        let place = |n: i64| match before(n + 1) > before(n) {
            true => base.1 + before(n) - from,
            false => n - before(n) - (start - from),
        };
        let numbers: Vec<i64> = (from..to).map(|n| step * self.drawn + n).collect();
        let rows = numbers.iter().map(|&number| self.row(key, number)).collect();
        Drawn { base, rows, numbers, order: (start..start + count).map(place).collect() }
    }

    /// The image of draw `number`, uniform over the extra set.
    fn row(&self, key: &[u64], number: i64) -> i64 {
        let hash = key_of(&[key, &[name_key("extra"), number as u64]].concat());
        // 63 random bits times the number of images: the bias is below one in 10^12 for 50 million.
        ((hash as u128 * self.extra as u128) >> 63) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::share;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn whole(size: i64) -> Share {
        share(size, 0, 1)
    }

    #[test]
    fn counts_are_those_of_the_published_codes() {
        for (size, part, drawn) in [(512, 0.7, 358), (1024, 0.7, 716), (2048, 0.8, 1638), (90, 0.7, 62), (128, 0.5, 64)]
        {
            assert_eq!(Mixture::new(48_976, 1_000_000, size, part).unwrap().drawn(), drawn, "{size} * {part}");
        }
        for (size, part) in [(1, 0.5), (4, 0.2), (2, 0.3)] {
            assert_eq!(Mixture::new(10, 10, size, part), None, "{size} * {part}");
        }
    }

    /// Five images, batches of 4, a share of 0.7: two steps, of 2 and 2 images each.
    #[test]
    fn a_small_epoch_by_hand() {
        let mixture = Mixture::new(5, 3, 4, 0.7).unwrap();
        let [first, second, third] = [0, 1, 2].map(|step| mixture.draw(&[1], step, whole(4)));
        assert_eq!([first.base, second.base, third.base], [(0, 2), (2, 2), (4, 1)]);
        assert_eq!((first.numbers, second.numbers, third.numbers), (vec![0, 1], vec![2, 3], vec![4, 5, 6]));
        assert_eq!(first.order, [0, 2, 1, 3]);
        assert_eq!(third.order, [0, 1, 2, 3]);
        assert_eq!([1, 2, 3].map(|steps| mixture.draws(steps)), [2, 4, 7]);
    }

    #[test]
    fn extra_images_are_drawn_evenly() {
        let mixture = Mixture::new(1000, 10, 100, 0.5).unwrap();
        let mut counts = [0.0; 10];
        let draws = (0..20).flat_map(|epoch| (0..10).map(move |step| (epoch, step)));
        for row in draws.flat_map(|(epoch, step)| mixture.draw(&[7, epoch], step, whole(100)).rows) {
            counts[row as usize] += 1.0;
        }
        let expected = counts.iter().sum::<f64>() / 10.0;
        // Chi-squared with 9 degrees of freedom exceeds 40 with probability 1e-5.
        let chi2: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        assert!(expected == 1000.0 && chi2 < 40.0, "{counts:?}");
        assert_ne!(mixture.draw(&[7, 0], 0, whole(100)).rows, mixture.draw(&[7, 1], 0, whole(100)).rows);
        assert_ne!(mixture.draw(&[7, 0], 0, whole(100)).rows, mixture.draw(&[8, 0], 0, whole(100)).rows);
    }

    proptest! {
        /// Every batch is full and has the stated number of each set; an epoch takes no base image
        /// twice, and numbers its draws without gaps.
        #[test]
        fn every_batch_has_the_stated_ratio(base in 1..400i64, extra in 1..50i64, size in 2..70i64, part in 0.02..0.98f64) {
            let Some(mixture) = Mixture::new(base, extra, size, part) else { return Ok(()) };
            let steps = base.div_euclid(size) + i64::from(base % size > 0);
            let (mut seen, mut numbers) = (BTreeSet::new(), Vec::new());
            for step in 0..steps {
                let drawn = mixture.draw(&[3], step, whole(size));
                prop_assert_eq!(drawn.order.len() as i64, size);
                prop_assert_eq!(drawn.order.iter().collect::<BTreeSet<_>>().len() as i64, size);
                let (first, own) = drawn.base;
                prop_assert_eq!(own + drawn.rows.len() as i64, size);
                if step + 1 < steps {
                    prop_assert_eq!(drawn.rows.len() as i64, mixture.drawn());
                }
                prop_assert!(drawn.rows.len() as i64 >= mixture.drawn());
                prop_assert!(drawn.rows.iter().all(|row| (0..extra).contains(row)));
                for place in first..first + own {
                    prop_assert!(place < base && seen.insert(place), "base image {} twice", place);
                }
                numbers.extend(drawn.numbers);
            }
            prop_assert_eq!(numbers, (0..mixture.draws(steps)).collect::<Vec<_>>());
        }

        /// The ranks' shares, put together, are the batch of one process, and each has the ratio of
        /// the whole.
        #[test]
        fn ranks_share_the_batch_of_one_process(size in 2..70i64, ranks in 1..9usize, part in 0.02..0.98f64, step in 0..3i64) {
            let Some(mixture) = Mixture::new(150, 40, size, part) else { return Ok(()) };
            // Each image of a batch as its place in the base set's order, or minus its draw's
            // number.
            let images = |drawn: &Drawn| -> Vec<i64> {
                let base = drawn.base.0..drawn.base.0 + drawn.base.1;
                let all: Vec<i64> = base.chain(drawn.numbers.iter().map(|number| -1 - number)).collect();
                drawn.order.iter().map(|&place| all[place as usize]).collect()
            };
            let one = mixture.draw(&[3], step, whole(size));
            let mut all = Vec::new();
            for share in (0..ranks).map(|rank| share(size, rank, ranks)).filter(|share| share.mine > 0) {
                let own = mixture.draw(&[3], step, share);
                let fair = share.mine as f64 * one.rows.len() as f64 / size as f64;
                prop_assert!((own.rows.len() as f64 - fair).abs() < 1.0, "{} of {}", own.rows.len(), fair);
                all.extend(images(&own));
            }
            prop_assert_eq!(all, images(&one));
        }
    }
}
