//! The averaged networks beside the trained one.

use super::Network;
use crate::average::{Average, Buffers};
use crate::nn::Parameters;
use crate::scheduler::{Clock, Progress};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// The networks that follow the trained one.
#[derive(Debug, Default)]
pub struct Averages {
    /// What is measured, selected and saved in the model's place.
    pub evaluated: Option<Averaged>,
    /// Further ones, by name, which are saved beside it.
    pub further: BTreeMap<String, Averaged>,
}

impl Averages {
    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Averaged> {
        self.evaluated.iter_mut().chain(self.further.values_mut())
    }

    /// Each with the beginning of its names, as in [`Averages::state`].
    pub fn named(&self) -> impl Iterator<Item = (String, &Averaged)> {
        let evaluated = self.evaluated.iter().map(|average| ("average.".to_string(), average));
        evaluated.chain(self.further.iter().map(|(name, average)| (format!("averages.{name}."), average)))
    }

    /// Their weights, and what they keep, by name.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.named().flat_map(|(prefix, average)| average.state(&prefix)).collect()
    }
}

/// A network that follows the trained one.
pub struct Averaged {
    network: Network,
    average: Box<dyn Average>,
    /// Epochs whose end it has followed, `[]` int64: a run that is stopped while the epoch is
    /// measured, and resumed, comes to its end twice.
    epochs: Tensor,
}

impl std::fmt::Debug for Averaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "average: {:?}", self.network)
    }
}

impl Averaged {
    /// `network` is a second one like the trained one.
    pub fn new(network: Network, average: Box<dyn Average>) -> Self {
        let epochs = Tensor::zeros([] as [i64; 0], (Kind::Int64, network.params().device()));
        Self { network, average, epochs }
    }

    /// The averaged network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Sets it to the trained network.
    pub(super) fn equal(&self, trained: &Parameters) {
        for ((_, own), (_, theirs)) in self.network.params().storage().into_iter().zip(trained.storage()) {
            tch::no_grad(|| own.shallow_clone().copy_(&theirs));
        }
    }

    /// Moves it after an update.
    pub(super) fn follow_update(&mut self, trained: &Parameters, clock: &Clock) {
        if let Some(rate) = self.average.after_update(clock) {
            self.follow(trained, &rate);
        }
    }

    fn follow(&self, trained: &Parameters, rate: &Tensor) {
        let own = self.network.params();
        let mut pairs = vec![(own.flat(), trained.flat())];
        if self.average.buffers() == Buffers::Average {
            pairs.push((own.stats(), trained.stats()));
        }
        let rate = rate.to_kind(own.kind());
        tch::no_grad(|| pairs.iter().for_each(|(own, theirs)| drop(own.shallow_clone().lerp_tensor_(theirs, &rate))));
    }

    /// Moves it after the epoch of `progress`. Whether batch norm's statistics must be estimated
    /// again: by [`Averaged::forget`], and [`Averaged::see`] for all images.
    pub fn follow_epoch(&mut self, trained: &Network, progress: &Progress) -> bool {
        let done = progress.epoch as i64 + 1;
        let own = self.network.params();
        if self.epochs.int64_value(&[]) < done {
            let _ = self.epochs.fill_(done);
            if let Some(rate) = self.average.after_epoch(progress) {
                let rate = Tensor::full([] as [i64; 0], rate, (Kind::Double, own.device()));
                self.follow(trained.params(), &rate);
            }
        }
        if self.average.buffers() == Buffers::Copy {
            tch::no_grad(|| own.stats().shallow_clone().copy_(trained.params().stats()));
        }
        if self.average.buffers() != Buffers::Estimate {
            own.count_as(trained.params());
        }
        self.average.buffers() == Buffers::Estimate && own.has_norms()
    }

    /// Forgets batch norm's statistics.
    pub fn forget(&self) {
        self.network.params().reset_statistics();
    }

    /// Adds `images` `[n, C, H, W]`, of a batch of `all` over the ranks, to the statistics of those
    /// `seen` before.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn see(&self, images: &Tensor, seen: i64, all: i64) -> crate::Result<()> {
        let share = all as f64 / (seen + all) as f64;
        tch::no_grad(|| drop(self.network.moving_by(share, images)));
        self.network.params().average_statistics()
    }

    /// Its weights, and what the average keeps, by name with `prefix`.
    pub fn state(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let network = self.network.params().storage().into_iter();
        let kept = self.average.state().into_iter().map(|(name, t)| (format!("kept.{name}"), t));
        let epochs = ("epochs".to_string(), self.epochs.shallow_clone());
        network.chain(kept).chain([epochs]).map(|(name, t)| (format!("{prefix}{name}"), t)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{BatchNorm2d, Builder, Pass};
    use crate::testing::assert_close;
    use tch::Device;

    /// Batch norm of one channel; what comes out does not matter.
    struct Norm(BatchNorm2d);

    impl crate::model::Model for Norm {
        fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
            self.0.forward(pass, xs).flatten(1, -1)
        }
    }

    fn norm() -> Network {
        let nn = Builder::default();
        let model = Norm(BatchNorm2d::new(&nn, "bn", 1));
        Network::new(Box::new(model), nn, Some(0), Kind::Double, Device::Cpu)
    }

    /// A half after an update and an epoch.
    struct Half(Buffers);

    impl Average for Half {
        fn after_update(&mut self, _: &Clock) -> Option<Tensor> {
            Some(Tensor::from(0.5))
        }

        fn after_epoch(&self, _: &Progress) -> Option<f64> {
            Some(0.5)
        }

        fn buffers(&self) -> Buffers {
            self.0
        }
    }

    fn images(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).view([-1, 1, 1, 1])
    }

    // By hand: batches {1, 3} and {4, 6, 8}. Means 2 and 6 of 2 and 3 images: (2 · 2 + 3 · 6)/5 =
    // 4.4. Unbiased variances 2 and 4: (2 · 2 + 3 · 4)/5 = 3.2. Not that of all five, 7.3.
    #[test]
    fn statistics_are_means_over_the_images() {
        let (trained, progress) = (norm(), Progress { epoch: 0, step: 0, steps_per_epoch: 1, epochs: 2 });
        let mut average = Averaged::new(norm(), Box::new(Half(Buffers::Estimate)));
        let _ = average.network.frozen(&images(&[100.0, 300.0]), crate::nn::Mode::Train, None);
        assert!(average.follow_epoch(&trained, &progress));
        average.forget();
        average.see(&images(&[1.0, 3.0]), 0, 2).unwrap();
        average.see(&images(&[4.0, 6.0, 8.0]), 2, 3).unwrap();
        assert_close(average.network.params().stats(), &Tensor::from_slice(&[4.4, 3.2]), 1e-12);
    }

    #[test]
    fn it_follows_updates_and_each_epoch_once() {
        let clock = Clock::new(2, 1, Device::Cpu);
        for buffers in [Buffers::Copy, Buffers::Average] {
            let trained = norm();
            let mut average = Averaged::new(norm(), Box::new(Half(buffers)));
            let _ = trained.params().flat().shallow_clone().fill_(9.0);
            let _ = trained.params().stats().shallow_clone().fill_(9.0);
            average.follow_update(trained.params(), &clock);
            // From weight 1 and bias 0, mean 0 and variance 1, half the way to 9.
            assert_close(average.network.params().flat(), &Tensor::from_slice(&[5.0, 4.5]), 1e-12);
            for _ in 0..2 {
                assert!(!average.follow_epoch(&trained, &clock.progress()));
            }
            assert_close(average.network.params().flat(), &Tensor::from_slice(&[7.0, 6.75]), 1e-12);
            let stats = if buffers == Buffers::Copy { [9.0, 9.0] } else { [6.75, 7.0] };
            assert_close(average.network.params().stats(), &Tensor::from_slice(&stats), 1e-12);
            average.equal(trained.params());
            assert_eq!(average.network.params().flat(), trained.params().flat());
        }
    }
}
