//! How a batch is split: each rank takes a contiguous share; if it does not divide evenly, the
//! first ranks take one image more.

/// A rank's images of a batch of `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The first one's place in the batch.
    pub start: i64,
    /// The number of images; may be 0.
    pub mine: i64,
    /// The number of images of all ranks.
    pub all: i64,
}

/// The share of `rank` among `size` ranks in `all` images.
pub fn share(all: i64, rank: usize, size: usize) -> Share {
    let (rank, size) = (rank as i64, size.max(1) as i64);
    let (each, more) = (all / size, all % size);
    Share { start: rank * each + rank.min(more), mine: each + i64::from(rank < more), all }
}

impl Share {
    /// The rows to compute with: `(start, count)`. A rank without images computes with the batch's
    /// first one, with weight 0, so that it takes part in every collective.
    pub fn rows(&self) -> (i64, i64) {
        if self.mine == 0 { (0, 1.min(self.all)) } else { (self.start, self.mine) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_cover_the_batch_in_order(all in 0..300i64, size in 1..20usize) {
            let shares: Vec<Share> = (0..size).map(|rank| share(all, rank, size)).collect();
            let mut next = 0;
            for share in &shares {
                prop_assert_eq!(share.start, next);
                next += share.mine;
            }
            prop_assert_eq!(next, all);
            prop_assert!(shares.iter().map(|s| s.mine).max().unwrap() - shares.iter().map(|s| s.mine).min().unwrap() <= 1);
        }
    }

    #[test]
    fn a_rank_without_images_takes_the_first_along() {
        assert_eq!(share(2, 3, 4), Share { start: 2, mine: 0, all: 2 });
        assert_eq!(share(2, 3, 4).rows(), (0, 1));
        assert_eq!(share(7, 1, 2).rows(), (4, 3));
    }
}
