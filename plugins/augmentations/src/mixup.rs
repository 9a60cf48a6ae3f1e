//! Mixup: weighted means of two images.

use crate::chance::{beta, happens};
use foil::prelude::*;

/// Replaces each image by a mean of it and another one of the batch, and its label alike (Zhang et
/// al. 2018, arXiv:1710.09412).
///
/// x = λ · x_i + (1 - λ) · x_j and y = λ · y_i + (1 - λ) · y_j, with λ from Beta(alpha, alpha): as
/// in the authors' code one λ and one permutation j of the images for the whole batch.
#[settings]
pub struct Mixup {
    /// Both parameters of λ's beta distribution: 1 makes it uniform; below 1 one of the images
    /// prevails.
    #[set(default = 1.0, above = 0.0, range = ..=1000.0)]
    pub alpha: f64,
    /// Share of the batches that it is done to.
    #[set(default = 1.0, range = 0.0..=1.0)]
    pub probability: f64,
}

impl Augment for Mixup {
    fn mixes(&self) -> bool {
        true
    }

    fn mix(&self, batch: Mixed, noise: &Noise) -> Result<Mixed> {
        let other = noise.order("mixup.other");
        let whole = noise.of_batch();
        let share = beta(&whole, "mixup.share", self.alpha);
        let chosen = happens(&whole, "mixup.happens", self.probability).view([1]);
        let share = share.where_self(&chosen, &share.ones_like());
        let mean = |values: &Tensor| {
            let share = share.to_kind(values.kind());
            values * &share + values.index_select(0, &other) * (1.0 - &share)
        };
        Ok(Mixed { x: mean(&batch.x), y: mean(&batch.y) })
    }
}

register!(dyn Augment, "mixup", Mixup, "{ alpha: 1 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, from_yaml};
    use tch::Device;

    // perm = [2, 0, 1]; .3 * x + .7 * x[perm]; the same of y
    #[test]
    fn images_and_labels_are_weighted_means() {
        let mixup = from_yaml::<dyn Augment>("mixup", Kind::Double);
        let mut noise = Noise::seeded(&[1], 3, Device::Cpu);
        noise.give("mixup.share", Tensor::from_slice(&[0.3]));
        noise.give("mixup.other", Tensor::from_slice(&[7i64, 9, 3]).view([3, 1]));
        let x = Tensor::from_slice(&[1.0, 2.0, 4.0]).view([3, 1, 1, 1]);
        let y = Tensor::eye(3, (Kind::Double, Device::Cpu));
        let mixed = mixup.mix(Mixed { x, y }, &noise).unwrap();
        assert_close(&mixed.x.view(-1), &Tensor::from_slice(&[3.1, 1.3, 2.6]), 1e-12);
        let expected = Tensor::from_slice2(&[[0.3, 0.0, 0.7], [0.7, 0.3, 0.0], [0.0, 0.7, 0.3]]);
        assert_close(&mixed.y, &expected, 1e-12);
    }

    #[test]
    fn a_share_of_the_batches_stays_as_it_is() {
        let mixup = from_yaml::<dyn Augment>("{ type: mixup, probability: 0.3 }", Kind::Float);
        let mixed = (0..200).filter(|&batch| {
            let x = Tensor::arange(4, (Kind::Float, Device::Cpu)).view([4, 1, 1, 1]);
            let y = Tensor::eye(4, (Kind::Float, Device::Cpu));
            let found = mixup.mix(Mixed { x: x.shallow_clone(), y }, &Noise::seeded(&[batch], 4, Device::Cpu)).unwrap();
            assert!((found.y.sum(Kind::Float).double_value(&[]) - 4.0).abs() < 1e-5);
            found.x != x
        });
        assert!((35..=85).contains(&mixed.count()));
    }
}
