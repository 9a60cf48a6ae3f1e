//! A number that jumps from value to value: FAT's tau.

use crate::Count;
use crate::points::require_points;
use foil::prelude::*;

/// The value of the last point whose time has been reached; before the first point, the first
/// value.
///
/// FAT (Zhang et al. 2020) raises tau this way: `[[1, 0], [51, 1], [91, 2]]`, with epochs counted
/// from one.
#[settings]
pub struct Steps {
    /// `[time, value]` pairs, times ascending.
    pub points: Vec<[f64; 2]>,
    /// How epochs are counted.
    #[set(default = Count::Epochs)]
    pub count: Count,
}

impl Scheduler for Steps {
    fn value(&self, progress: &Progress) -> f64 {
        let time = self.count.time(progress);
        let reached = self.points.iter().rev().find(|[at, _]| time >= *at).or(self.points.first());
        reached.map_or(0.0, |[_, value]| *value)
    }

    fn check(&self, cx: &Build) {
        require_points(cx, &self.points);
    }
}

register!(dyn Scheduler, "steps", Steps, "{ points: [[0, 0], [50, 1], [90, 2]] }");

#[cfg(test)]
mod tests {
    use crate::testing::{at, problem, scheduler};

    // FAT's code: epochs up to 50 (counted from one) have tau 0, up to 90 tau 1, then tau 2.
    #[test]
    fn follows_fats_tau() {
        let tau = scheduler("{ type: steps, points: [[1, 0], [51, 1], [91, 2]], count: epochs_from_one }");
        let by_epoch = |epoch: u64| at(&*tau, epoch - 1, 0);
        assert_eq!([1, 50, 51, 90, 91, 120].map(by_epoch), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn before_the_first_point_it_is_the_first_value() {
        assert_eq!(at(&*scheduler("{ type: steps, points: [[5, 3], [6, 4]] }"), 0, 0), 3.0);
    }

    #[test]
    fn points_out_of_order_are_reported() {
        assert_eq!(problem("{ type: steps, points: [] }"), "`points` is empty");
        assert_eq!(problem("{ type: steps, points: [[0, 0], [9, 1], [9, 2]] }"), "`points` lists 9 before 9");
    }
}
