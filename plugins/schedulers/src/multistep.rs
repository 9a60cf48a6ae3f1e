//! A number that drops at milestones: how the papers schedule the learning rate.

use crate::Count;
use crate::points::require_ascending;
use foil::prelude::*;

/// A number that is multiplied by `gamma` at each milestone.
///
/// With `factors` in place of `gamma`, the n-th milestone sets it to `start · factors[n]`, as for
/// FAT's x.1, x.01, x.005.
#[settings]
pub struct Multistep {
    /// The number before the first milestone.
    pub start: f64,
    /// Times at which it changes, ascending.
    #[set(unit = "epochs")]
    pub milestones: Vec<f64>,
    /// Factor at each milestone.
    #[set(default = 0.1)]
    pub gamma: f64,
    /// Factor after each milestone relative to the start, in place of `gamma`.
    #[set(default)]
    pub factors: Option<Vec<f64>>,
    /// How epochs are counted.
    #[set(default = Count::Epochs)]
    pub count: Count,
}

impl Scheduler for Multistep {
    fn value(&self, progress: &Progress) -> f64 {
        let time = self.count.time(progress);
        let passed = self.milestones.iter().filter(|&&milestone| time >= milestone).count();
        let factor = match (&self.factors, passed) {
            (Some(factors), 1..) => factors.get(passed - 1).copied().unwrap_or(1.0),
            _ => self.gamma.powi(passed as i32),
        };
        self.start * factor
    }

    fn check(&self, cx: &Build) {
        require_ascending(cx, "milestones", self.milestones.iter().copied());
        if let Some(factors) = self.factors.as_ref().filter(|factors| factors.len() != self.milestones.len()) {
            let message = format!("has length {}, and `milestones` has {}", factors.len(), self.milestones.len());
            cx.problem("factors", message, "list one for each milestone");
        }
    }
}

register!(dyn Scheduler, "multistep", Multistep, "{ start: 0.1, milestones: [100, 150] }");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, problem, scheduler};

    fn lr(count: Count, epoch: u64, step: u64) -> f64 {
        let schedule = Multistep { start: 0.1, milestones: vec![100.0, 150.0], gamma: 0.1, factors: None, count };
        schedule.value(&Progress { epoch, step, steps_per_epoch: 391, epochs: 200 })
    }

    #[test]
    fn counts_as_the_codes_do() {
        assert_eq!(lr(Count::Epochs, 99, 390), 0.1);
        assert_eq!(lr(Count::Epochs, 100, 0), 0.1 * 0.1);
        assert_eq!(lr(Count::EpochsFromOne, 99, 0), 0.1 * 0.1);
        // robust_overfitting: the last batch of epoch 99 has t = 100.0 and uses the dropped rate
        // already.
        assert_eq!(lr(Count::Steps, 99, 389), 0.1);
        assert_eq!(lr(Count::Steps, 99, 390), 0.1 * 0.1);
        assert!((lr(Count::Steps, 150, 0) - 0.001).abs() < 1e-15);
    }

    // FAT's code: x.1 from epoch 60, x.01 from 90, x.005 from 110, epochs counted from one.
    #[test]
    fn factors_are_fats() {
        let lr = scheduler(
            "{ type: multistep, start: 0.1, milestones: [60, 90, 110], factors: [0.1, 0.01, 0.005], count: epochs_from_one }",
        );
        let by_epoch = |epoch: u64| at(&*lr, epoch - 1, 0);
        assert_eq!([59, 60, 89, 90, 110].map(by_epoch), [0.1, 0.1 * 0.1, 0.1 * 0.1, 0.1 * 0.01, 0.1 * 0.005]);
    }

    #[test]
    fn lists_that_do_not_fit_are_reported() {
        let reported = |lists: &str| problem(&format!("{{ type: multistep, start: 0.1, {lists} }}"));
        assert_eq!(reported("milestones: [60, 40]"), "`milestones` lists 60 before 40");
        assert_eq!(reported("milestones: [60, 90], factors: [0.1]"), "`factors` has length 1, and `milestones` has 2");
        assert_eq!(reported("milestones: [60, 90]"), "nothing");
    }
}
