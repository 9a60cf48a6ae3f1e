//! Linear interpolation between points: cyclic learning rates, ramps.

use crate::Count;
use crate::points::require_points;
use foil::prelude::*;

/// Linear interpolation between `[time, value]` points, constant before the first and after the
/// last (numpy's `interp`).
///
/// robust_overfitting's cyclic learning rate ("superconverge") is `[[0, 0], [80, 0.2], [200, 0]]`.
#[settings]
pub struct PiecewiseLinear {
    /// `[time, value]` pairs, times ascending.
    pub points: Vec<[f64; 2]>,
    /// How epochs are counted.
    #[set(default = Count::Steps)]
    pub count: Count,
}

impl Scheduler for PiecewiseLinear {
    fn value(&self, progress: &Progress) -> f64 {
        let time = self.count.time(progress);
        let next = self.points.iter().position(|[at, _]| *at > time);
        match next {
            Some(0) => self.points[0][1],
            Some(i) => {
                let ([t0, v0], [t1, v1]) = (self.points[i - 1], self.points[i]);
                v0 + (v1 - v0) * (time - t0) / (t1 - t0)
            }
            None => self.points.last().map_or(0.0, |[_, value]| *value),
        }
    }

    fn check(&self, cx: &Build) {
        require_points(cx, &self.points);
    }
}

register!(dyn Scheduler, "piecewise_linear", PiecewiseLinear, "{ points: [[0, 0], [80, 0.2], [200, 0]] }");

#[cfg(test)]
mod tests {
    use crate::testing::{at, close, problem, scheduler};

    // import numpy as np
    // for e, i in [(0, 0), (79, 389), (79, 390), (80, 0), (199, 389), (199, 390)]:
    //     np.interp([e + (i + 1) / 391], [0, 80, 200], [0, .2, 0])[0]
    #[test]
    fn is_robust_overfittings_cyclic_rate_batch_by_batch() {
        let lr = scheduler("{ type: piecewise_linear, points: [[0, 0], [80, 0.2], [200, 0]] }");
        close(at(&*lr, 0, 0), 6.3938618925831205e-06);
        close(at(&*lr, 79, 389), 0.1999936061381074);
        assert_eq!(at(&*lr, 79, 390), 0.2);
        close(at(&*lr, 80, 0), 0.19999573742540494);
        close(at(&*lr, 199, 389), 4.262574595043089e-06);
        assert_eq!(at(&*lr, 199, 390), 0.0);
    }

    #[test]
    fn is_flat_outside_its_points() {
        let beta = scheduler("{ type: piecewise_linear, points: [[10, 1], [20, 6]], count: epochs }");
        assert_eq!([0, 10, 15, 20, 150].map(|epoch| at(&*beta, epoch, 0)), [1.0, 1.0, 3.5, 6.0, 6.0]);
    }

    #[test]
    fn points_out_of_order_are_reported() {
        assert_eq!(problem("{ type: piecewise_linear, points: [[3, 0], [1, 1]] }"), "`points` lists 3 before 1");
    }
}
