//! A number that rises to a peak and falls again, over the whole run: fast CIFAR training.

use crate::Count;
use crate::cosine::half_cosine;
use foil::prelude::*;

/// Linearly from `start` to `peak` during the first `up` of the run, then down to `end` (Smith &
/// Topin 2018). With `rise: cosine` and `down: cosine` it is PyTorch's default.
///
/// With linear sides and `up: 0.4` it is the cyclic rate of fast adversarial training (Wong et al.
/// 2020) and of robust_overfitting.
#[settings]
pub struct OneCycle {
    /// The number at the peak.
    pub peak: f64,
    /// Share of the run before the peak.
    #[set(default = 0.3, range = 0.0.., below = 1.0)]
    pub up: f64,
    /// The number at time 0.
    #[set(default)]
    pub start: f64,
    /// The number at the end.
    #[set(default)]
    pub end: f64,
    /// The shape of the rise.
    #[set(default = Side::Linear)]
    #[serde(skip_serializing_if = "Side::is_linear")]
    pub rise: Side,
    /// The shape of the descent.
    #[set(default = Side::Linear)]
    pub down: Side,
    /// When it ends; by default at the end of the run.
    #[set(default, above = 0.0, unit = "epochs")]
    pub epochs: Option<f64>,
    /// How epochs are counted.
    #[set(default = Count::Steps)]
    pub count: Count,
}

/// How a number rises or falls.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Side {
    /// On a straight line.
    Linear,
    /// Along half a cosine.
    Cosine,
}

impl Side {
    fn is_linear(&self) -> bool {
        *self == Self::Linear
    }
}

impl Scheduler for OneCycle {
    fn value(&self, progress: &Progress) -> f64 {
        let share = self.count.share(progress, self.epochs);
        if share < self.up {
            return match self.rise {
                Side::Linear => self.start + (self.peak - self.start) * share / self.up,
                Side::Cosine => half_cosine(self.start, self.peak, share / self.up),
            };
        }
        let share = (share - self.up) / (1.0 - self.up);
        match self.down {
            Side::Linear => self.peak + (self.end - self.peak) * share,
            Side::Cosine => half_cosine(self.peak, self.end, share),
        }
    }
}

register!(dyn Scheduler, "one_cycle", OneCycle, "{ peak: 0.2, up: 0.4 }");

#[cfg(test)]
mod tests {
    use crate::testing::{at, close, scheduler};

    // s = torch.optim.lr_scheduler.OneCycleLR(SGD(lr=.1), max_lr=.2, total_steps=11,
    //     pct_start=5/11, anneal_strategy=…,
    //     div_factor=20, final_div_factor=10, cycle_momentum=False); s.get_last_lr() after 0, 1, …
    //     s.step()
    // PyTorch puts the top at step pct_start · total_steps - 1 = 4 and the end at step total_steps
    // - 1 = 10.
    #[test]
    fn equals_pytorch_step_by_step() {
        let shape = "peak: 0.2, up: 0.4, start: 0.01, end: 0.001, epochs: 10, count: epochs";
        let linear = scheduler(&format!("{{ type: one_cycle, {shape} }}"));
        for (epoch, expected) in [
            (0, 0.01),
            (1, 0.0575),
            (3, 0.1525),
            (4, 0.2),
            (5, 0.16683333333333333),
            (9, 0.03416666666666665),
            (10, 0.001),
        ] {
            close(at(&*linear, epoch, 0), expected);
        }
        let cosine = scheduler(&format!("{{ type: one_cycle, {shape}, down: cosine }}"));
        for (epoch, expected) in
            [(4, 0.2), (5, 0.18666952767655168), (7, 0.1005), (9, 0.014330472323448348), (10, 0.001)]
        {
            close(at(&*cosine, epoch, 0), expected);
        }
    }

    // s = torch.optim.lr_scheduler.OneCycleLR(SGD(lr=.1, momentum=.9), max_lr=.2, total_steps=11,
    //     pct_start=5/11,
    //     div_factor=20, final_div_factor=10); s.get_last_lr(),
    //     s.optimizer.param_groups[0]["momentum"] after 0, 1, … s.step()
    #[test]
    fn cosine_both_ways_equals_pytorch_and_so_does_its_momentum() {
        let both = "up: 0.4, rise: cosine, down: cosine, epochs: 10, count: epochs";
        let rate = scheduler(&format!("{{ type: one_cycle, peak: 0.2, start: 0.01, end: 0.001, {both} }}"));
        let momentum = scheduler(&format!("{{ type: one_cycle, peak: 0.85, start: 0.95, end: 0.95, {both} }}"));
        for (epoch, of_rate, of_momentum) in [
            (0, 0.01, 0.95),
            (1, 0.03782485578727801, 0.9353553390593273),
            (2, 0.105, 0.9),
            (3, 0.172175144212722, 0.8646446609406726),
            (4, 0.2, 0.85),
            (5, 0.18666952767655168, 0.856698729810778),
            (7, 0.1005, 0.9),
            (9, 0.014330472323448348, 0.9433012701892219),
            (10, 0.001, 0.95),
        ] {
            close(at(&*rate, epoch, 0), of_rate);
            close(at(&*momentum, epoch, 0), of_momentum);
        }
    }

    #[test]
    fn is_robust_overfittings_cyclic_rate_too() {
        let cycle = scheduler("{ type: one_cycle, peak: 0.2, up: 0.4 }");
        let points = scheduler("{ type: piecewise_linear, points: [[0, 0], [80, 0.2], [200, 0]] }");
        for (epoch, step) in [(0, 0), (40, 7), (79, 390), (80, 0), (150, 200), (199, 390)] {
            close(at(&*cycle, epoch, step), at(&*points, epoch, step));
        }
    }
}
