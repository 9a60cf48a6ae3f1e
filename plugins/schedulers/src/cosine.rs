//! A number that falls along half a cosine.

use crate::Count;
use foil::prelude::*;

/// end + (start - end) · (1 + cos(pi · t/epochs))/2, then `end` (Loshchilov & Hutter 2017, eq. 5,
/// one cycle; PyTorch's `CosineAnnealingLR`).
#[settings]
pub struct Cosine {
    /// The number at time 0.
    pub start: f64,
    /// The number from `epochs` on.
    #[set(default)]
    pub end: f64,
    /// When it ends; by default at the end of the run.
    #[set(default, above = 0.0, unit = "epochs")]
    pub epochs: Option<f64>,
    /// How epochs are counted.
    #[set(default = Count::Epochs)]
    pub count: Count,
}

/// From `start` at `share` 0 to `end` at `share` 1 along half a cosine.
pub(crate) fn half_cosine(start: f64, end: f64, share: f64) -> f64 {
    end + (start - end) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
}

impl Scheduler for Cosine {
    fn value(&self, progress: &Progress) -> f64 {
        half_cosine(self.start, self.end, self.count.share(progress, self.epochs))
    }
}

register!(dyn Scheduler, "cosine", Cosine, "{ start: 0.1 }");

#[cfg(test)]
mod tests {
    use crate::testing::{at, close, scheduler};

    // s = torch.optim.lr_scheduler.CosineAnnealingLR(SGD(lr=.1), 10, eta_min=.001);
    // s.get_last_lr() after 0, 1, … s.step()
    #[test]
    fn equals_pytorch_epoch_by_epoch() {
        let lr = scheduler("{ type: cosine, start: 0.1, end: 0.001, epochs: 10 }");
        for (epoch, expected) in [
            (0, 0.1),
            (1, 0.09757729755661011),
            (3, 0.07959536998847742),
            (5, 0.0505),
            (9, 0.0034227024433899004),
            (10, 0.001),
        ] {
            close(at(&*lr, epoch, 0), expected);
        }
        assert_eq!(at(&*lr, 150, 0), 0.001);
    }

    #[test]
    fn ends_with_the_run_by_default() {
        let lr = scheduler("{ type: cosine, start: 0.1, count: steps }");
        close(at(&*lr, 99, 390), 0.05);
        close(at(&*lr, 199, 390), 0.0);
    }
}
