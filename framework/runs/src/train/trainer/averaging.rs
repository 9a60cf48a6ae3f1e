//! The average at the end of an epoch.

use super::Trainer;
use foil::Result;
use foil::distributed::share;
use foil::engine::Step;
use tch::{Kind, Tensor};

impl Trainer {
    /// Moves the average, and estimates its batch norm's statistics if it asks for that, over the
    /// epoch's images in their `order`.
    pub(super) fn average_epoch(&mut self, order: &Tensor) -> Result<()> {
        let Step { model, average, .. } = &mut self.parts.step;
        let Some(average) = average else { return Ok(()) };
        if !average.follow_epoch(model.network(), &self.clock.progress()) {
            return Ok(());
        }
        average.forget();
        let augment = self.pipeline.augment.as_ref().map(|augment| (augment, &self.key));
        let (size, all) = (self.pipeline.train.batch_size as i64, self.train.len());
        let mut first = 0;
        while first < all {
            let count = size.min(all - first);
            let share = share(count, self.world.rank(), self.world.size());
            self.world.set_share(share);
            let (start, mine) = share.rows();
            let (images, ..) = self.train.batch(&order.narrow(0, first + start, mine), Kind::Float, augment);
            average.see(&images, first, count)?;
            first += count;
        }
        Ok(())
    }
}
