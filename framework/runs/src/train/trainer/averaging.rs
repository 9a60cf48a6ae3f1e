//! The averages at the end of an epoch.

use super::Trainer;
use super::epoch::gathered;
use crate::train::feed::At;
use foil::Result;
use foil::data::Augmenting;
use foil::engine::{Averaged, Step};
use tch::Tensor;

impl Trainer {
    /// Moves the averages, and estimates batch norm's statistics of those that ask for that, over
    /// the epoch's images in their `order`.
    pub(super) fn average_epoch(&mut self, order: &Tensor) -> Result<()> {
        let (Step { model, averages, .. }, now) = (&mut self.parts.step, self.clock.progress());
        let estimated = averages.iter_mut().filter_map(|average| {
            let estimates = average.follow_epoch(model.network(), &now);
            estimates.then_some(&*average)
        });
        let estimated: Vec<&Averaged> = estimated.collect();
        if estimated.is_empty() {
            return Ok(());
        }
        estimated.iter().for_each(|average| average.forget());
        let list = &self.parts.augment;
        let epoch = self.position.epoch;
        let steps = (self.train.base().len() as u64).div_ceil(self.pipeline.train.batch_size);
        let mut seen = 0;
        for step in 0..steps {
            let share = self.train.share(step, self.world);
            self.world.set_share(share);
            let (taken, part) = gathered(list, share);
            let inputs = self.train.inputs(At { epoch, step, order }, taken, steps)?;
            let [images, ..] = self.train.batch(&inputs, Some(Augmenting { list, key: &self.key, part }))?;
            estimated.iter().try_for_each(|average| average.see(&images, seen, share.all))?;
            seen += share.all;
        }
        Ok(())
    }
}
