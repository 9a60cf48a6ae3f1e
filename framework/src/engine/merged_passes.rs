//! Merges an update's forward passes over the same images.
//!
//! Some code passes the same images twice with the same weights: TRADES's passes the clean images
//! twice, robust_overfitting's the attacked ones, once for the attack and once for the update.
//! Without dropout, and without buffers of the model's own, such passes give the same logits and
//! the same statistics. They differ only in that each moves batch norm's running statistics. So one
//! pass is enough, if it moves the running statistics as all of them would have, in their order.

use crate::loss::{Forward, Moment};

/// One pass in train mode.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MergedPass {
    /// What it is for.
    pub forwards: Vec<Forward>,
    /// The weight of its statistics in the running ones.
    pub momentum: f64,
    /// The number of passes it replaces.
    pub times: u32,
}

/// Merges `passes`, those between attack and update, of a network with this batch norm's
/// `momentum`. With `skipped` the attack has left out its last pass over its result, which is
/// counted here. Without `repeat` (repeated passes differ) nothing is merged.
pub(super) fn merge_passes(passes: &[Forward], momentum: f64, skipped: bool, repeat: bool) -> Vec<MergedPass> {
    let between = passes.iter().filter(|pass| {
        let may_be = pass.moment() == Moment::BeforeUpdate;
        may_be && pass.network().is_none()
    });
    let order: Vec<Forward> = skipped.then_some(Forward::Adversarial).into_iter().chain(between.copied()).collect();
    let mut merged: Vec<MergedPass> = Vec::new();
    // The final weight of each set of images; each later pass scales all earlier ones down.
    for &forward in &order {
        merged.iter_mut().for_each(|pass| pass.momentum *= 1.0 - momentum);
        let same = merged.iter_mut().find(|pass| repeat && pass.forwards[0].images() == forward.images());
        match same {
            Some(pass) => {
                pass.momentum += momentum;
                pass.times += 1;
                if !pass.forwards.contains(&forward) {
                    pass.forwards.push(forward);
                }
            }
            None => merged.push(MergedPass { forwards: vec![forward], momentum, times: 1 }),
        }
    }
    if merged.len() == order.len() {
        merged.iter_mut().for_each(|pass| pass.momentum = momentum); // exactly, not up to rounding
        return merged;
    }
    // Later merged passes scale the earlier ones down as well.
    let mut later = 0.0;
    for pass in merged.iter_mut().rev() {
        let weight = pass.momentum;
        pass.momentum = weight / (1.0 - later);
        later += weight;
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENTUM: f64 = 0.1;
    use Forward::{Adversarial, Clean, CleanAfterUpdate, CleanAgain, CleanFirst, Together};

    /// The final running statistics, starting at 1, if attacked images have statistics 2, clean
    /// ones 3 and both together 5.
    fn moved(merged: &[MergedPass]) -> f64 {
        merged.iter().fold(1.0, |running, pass| {
            let found = match pass.forwards[0] {
                Adversarial => 2.0,
                Together => 5.0,
                _ => 3.0,
            };
            running + pass.momentum * (found - running)
        })
    }

    #[test]
    fn running_statistics_end_where_all_the_passes_would_have_left_them() {
        let sequences: [&[Forward]; 6] = [
            &[Clean, Adversarial, CleanAgain],
            &[Adversarial, CleanAfterUpdate],
            &[CleanFirst, Clean, CleanAgain, Adversarial],
            &[Adversarial, Clean, CleanAgain],
            &[Together],
            &[CleanAgain, Together, Clean],
        ];
        for (passes, skipped) in sequences.into_iter().flat_map(|passes| [(passes, false), (passes, true)]) {
            let [merged, all] = [true, false].map(|repeat| merge_passes(passes, MOMENTUM, skipped, repeat));
            assert!(merged.len() <= all.len() && all.iter().all(|pass| pass.momentum == MOMENTUM && pass.times == 1));
            assert!((moved(&merged) - moved(&all)).abs() < 1e-15, "{passes:?} {skipped}: {merged:?}");
            assert_eq!(merged.iter().map(|pass| pass.times).sum::<u32>(), all.len() as u32);
        }
    }

    #[test]
    fn what_repeats_nothing_is_left_as_it_is() {
        let one = |pass| MergedPass { forwards: vec![pass], momentum: MOMENTUM, times: 1 };
        assert_eq!(
            merge_passes(&[Clean, Adversarial, CleanAfterUpdate], MOMENTUM, false, true),
            [one(Clean), one(Adversarial)]
        );
    }

    #[test]
    fn trades_passes_its_clean_images_once() {
        let found = merge_passes(&[Clean, Adversarial, CleanAgain], MOMENTUM, false, true);
        assert_eq!(
            found.iter().map(|pass| pass.forwards.clone()).collect::<Vec<_>>(),
            [vec![Clean, CleanAgain], vec![Adversarial]]
        );
    }
}
