//! SWA: the plain mean of the weights at the ends of epochs.

use foil::average::{Average, Buffers};
use foil::prelude::*;

/// Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407; for robust networks Chen et
/// al. 2021, "Robust overfitting may be mitigated by properly learned smoothening"): the mean of
/// the weights after epoch `start` and every `every` epochs from there.
///
/// Until then it is the weights themselves. Batch norm's running statistics are estimated again
/// over the training images, as the authors' code does.
#[settings]
pub struct Swa {
    /// Epochs before the first one that counts; 55 in the robust networks' code.
    #[set(range = 0..)]
    pub start: u64,
    /// Epochs from one that counts to the next.
    #[set(default = 1, range = 1..)]
    pub every: u64,
    /// Where batch norm's running statistics come from.
    #[set(default = Buffers::Estimate)]
    pub buffers: Buffers,
}

struct Following(Swa);

impl Config<dyn Average> for Swa {
    fn build(&self, _: &Build) -> Result<Box<dyn Average>> {
        Ok(Box::new(Following(self.clone())))
    }
}

impl Average for Following {
    fn after_epoch(&self, progress: &Progress) -> Option<f64> {
        let Swa { start, every, .. } = self.0;
        let Some(since) = progress.epoch.checked_sub(start) else { return Some(1.0) };
        since.is_multiple_of(every).then(|| 1.0 / (since / every + 1) as f64)
    }

    fn buffers(&self) -> Buffers {
        self.0.buffers
    }

    fn begins(&self, _: u64) -> f64 {
        self.0.start as f64
    }
}

register!(dyn Average, "swa", Swa, "{ start: 0 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::from_yaml;

    // By hand: weights 9, 1, 2, 6 after four epochs, the first of which does not count: 9, then the
    // means 1, 1.5 and 3; of every second one 1, 1 and 3.5.
    #[test]
    fn a_mean_by_hand() {
        for (every, expected) in [(1, [9.0, 1.0, 1.5, 3.0]), (2, [9.0, 1.0, 1.0, 3.5])] {
            let average = from_yaml::<dyn Average>(&format!("{{ type: swa, start: 1, every: {every} }}"), Kind::Double);
            let mut v = 0.0;
            for (epoch, (w, mean)) in [9.0, 1.0, 2.0, 6.0].into_iter().zip(expected).enumerate() {
                let progress = Progress { epoch: epoch as u64, step: 0, steps_per_epoch: 1, epochs: 4 };
                v += average.after_epoch(&progress).unwrap_or(0.0) * (w - v);
                assert!((v - mean).abs() < 1e-12, "{every} {epoch}: {v}");
            }
        }
    }
}
