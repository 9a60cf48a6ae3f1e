//! A number that grows towards another at the start of a run.

use crate::Count;
use foil::prelude::*;

/// from + (then - from) · min(t/epochs, 1): linearly from `from` to a number, or to another
/// schedule's current value.
///
/// `then` is evaluated at the run's time, not relative to the warm-up's end.
#[settings]
pub struct Warmup {
    /// The number at time 0.
    #[set(default)]
    pub from: f64,
    /// Length of the warm-up.
    #[set(above = 0.0, unit = "epochs")]
    pub epochs: f64,
    /// The number or schedule it leads to.
    pub then: Scheduled,
    /// How epochs are counted.
    #[set(default = Count::Steps)]
    pub count: Count,
}

impl Scheduler for Warmup {
    fn value(&self, progress: &Progress) -> f64 {
        let share = self.count.share(progress, Some(self.epochs));
        self.from + (self.then.value(progress) - self.from) * share
    }
}

register!(dyn Scheduler, "warmup", Warmup, "{ epochs: 5, then: 0.1 }");

#[cfg(test)]
mod tests {
    use crate::testing::{at, close, problem, scheduler};

    #[test]
    fn ends_exactly_at_the_number() {
        let eps = scheduler("{ type: warmup, from: 0.1, epochs: 10, then: 0.3 }");
        close(at(&*eps, 4, 390), 0.2);
        assert_eq!([at(&*eps, 9, 390), at(&*eps, 150, 0)], [0.3, 0.3]);
        assert!(at(&*eps, 9, 389) < 0.3);
    }

    #[test]
    fn leads_to_a_schedule_in_its_own_time() {
        let lr = scheduler(
            "{ type: warmup, epochs: 2, then: { type: multistep, start: 0.1, milestones: [1, 3] }, count: epochs }",
        );
        let expected = [0.0, 0.5 * 0.1 * 0.1, 0.1 * 0.1, 0.1 * 0.1 * 0.1];
        assert_eq!([0, 1, 2, 3].map(|epoch| at(&*lr, epoch, 0)), expected);
    }

    #[test]
    fn what_is_wrong_inside_is_reported() {
        let inner = "{ type: multistep, start: 1, milestones: [5, 4] }";
        assert!(problem(&format!("{{ type: warmup, epochs: 2, then: {inner} }}")).contains("lists 5 before 4"));
    }
}
