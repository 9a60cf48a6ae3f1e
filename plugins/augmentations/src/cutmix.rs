//! CutMix: a rectangle of another image.

use crate::chance::{beta, happens};
use crate::window::window;
use foil::prelude::*;

/// Pastes a rectangle of another image of the batch into each image, and mixes their labels by area
/// (Yun et al. 2019, arXiv:1905.04899).
///
/// λ is from Beta(alpha, alpha); the rectangle's sides are √(1 - λ) of the image's, rounded down,
/// its centre is uniform over the pixels, and what is outside of the image is cut off. Labels have
/// the shares of the pixels that are left. As in the authors' code and in DM-Improves-AT there are
/// one rectangle and one permutation of the images for the whole batch. The authors have
/// `probability: 0.5` on CIFAR. DM-Improves-AT has `copies: 4`.
#[settings]
pub struct CutMix {
    /// Both parameters of λ's beta distribution.
    #[set(default = 1.0, above = 0.0, range = ..=1000.0)]
    pub alpha: f64,
    /// Share of the batches that it is done to.
    #[set(default = 1.0, range = 0.0..=1.0)]
    pub probability: f64,
    /// How often each batch is mixed, each time with another λ, rectangle and permutation; the step
    /// trains on all of them together. A `batch_size` of 128 with 4 is a step on 512 images.
    #[set(default = 1, range = 1..=64)]
    pub copies: i64,
}

impl Augment for CutMix {
    fn mixes(&self) -> bool {
        true
    }

    fn copies(&self) -> i64 {
        self.copies
    }

    fn mix(&self, batch: Mixed, noise: &Noise) -> Result<Mixed> {
        let (_, _, height, width) = batch.x.size4()?;
        let other = noise.order("cutmix.other");
        let whole = noise.of_batch();
        let rest: Tensor = 1.0 - beta(&whole, "cutmix.share", self.alpha);
        let side = rest.sqrt().view([1, 1]);
        let chosen = happens(&whole, "cutmix.happens", self.probability);
        let range = |name: &str, length: i64| {
            let half = (&side * length as f64).floor().divide_scalar_mode(2.0, "floor").to_kind(Kind::Int64);
            let centre = whole.below(name, length, &[1]);
            [(&centre - &half).clamp_min(0), (centre + half).clamp_max(length)]
        };
        let (rows, columns) = (range("cutmix.y", height), range("cutmix.x", width));
        let inside = window(rows.each_ref(), columns.each_ref(), height, width).logical_and(&chosen.view([1, 1, 1, 1]));
        let x = batch.x.index_select(0, &other).where_self(&inside, &batch.x);
        let pasted = inside.to_kind(batch.y.kind()).mean(None::<Kind>);
        let y = &batch.y * (1.0 - &pasted) + batch.y.index_select(0, &other) * pasted;
        Ok(Mixed { x, y })
    }
}

register!(dyn Augment, "cutmix", CutMix, "{ probability: 0.5 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, from_yaml};
    use tch::Device;

    /// Which pixels of an image of ones come from one of zeros, and the label's share that is left.
    fn pasted(share: f64, centre: [i64; 2], size: [i64; 2]) -> (Tensor, f64) {
        let cutmix = from_yaml::<dyn Augment>("cutmix", Kind::Double);
        let mut noise = Noise::seeded(&[1], 2, Device::Cpu);
        noise.give("cutmix.share", Tensor::from_slice(&[share]));
        noise.give("cutmix.other", Tensor::from_slice(&[2i64, 1]).view([2, 1]));
        noise.give("cutmix.y", Tensor::from_slice(&[centre[0]; 2]).view([2, 1]));
        noise.give("cutmix.x", Tensor::from_slice(&[centre[1]; 2]).view([2, 1]));
        let [height, width] = size;
        let x = Tensor::from_slice(&[1.0, 0.0]).view([2, 1, 1, 1]).expand([2, 1, height, width], false);
        let mixed = cutmix.mix(Mixed { x, y: Tensor::eye(2, (Kind::Double, Device::Cpu)) }, &noise).unwrap();
        assert_close(
            &(mixed.x.get(0) + mixed.x.get(1)),
            &Tensor::ones([1, height, width], (Kind::Double, Device::Cpu)),
            0.0,
        );
        (mixed.x.get(0).get(0), mixed.y.double_value(&[0, 0]))
    }

    // c = floor(32 * sqrt(1 - lam)); rows [max(0, i - c // 2), min(32, i + c // 2)), columns alike;
    // lam' = 1 - h * w / 1024.  .75, (2, 30) -> rows 0..9, columns 22..31; .6, (16, 16) -> 6..25
    #[test]
    fn rectangles_and_shares_are_those_of_the_published_code() {
        for (share, centre, [rows, columns], left) in
            [(0.75, [2, 30], [(0, 10), (22, 10)], 0.90234375), (0.6, [16, 16], [(6, 20), (6, 20)], 0.609375)]
        {
            let (found, kept) = pasted(share, centre, [32, 32]);
            let mut expected = Tensor::ones([32, 32], (Kind::Double, Device::Cpu));
            let _ = expected.narrow(0, rows.0, rows.1).narrow(1, columns.0, columns.1).fill_(0.0);
            expected = expected.detach();
            assert_close(&found, &expected, 0.0);
            assert!((kept - left).abs() < 1e-12, "{kept}");
        }
        // Sides follow the image's: of 8 x 16 pixels half of each is 4 x 8.
        assert!((pasted(0.75, [4, 8], [8, 16]).1 - 0.75).abs() < 1e-12);
    }
}
