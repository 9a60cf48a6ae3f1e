//! Cutout: a black square.

use crate::chance::happens;
use crate::window::window;
use foil::prelude::*;

/// Sets a square to black (DeVries & Taylor 2017, arXiv:1708.04552).
///
/// Its centre is uniform over the pixels, and what is outside of the image is cut off. The authors
/// cut 16 pixels on CIFAR-10 and 8 on CIFAR-100, after the images were normalised, so that theirs
/// is grey; in [0, 1] it is black, as in DM-Improves-AT (18 pixels).
#[settings]
pub struct Cutout {
    /// Side of the square. Of an odd one the pixel in excess is left out.
    #[set(default = 16, range = 1..=4096, unit = "pixels")]
    pub size: i64,
    /// Share of the images that it is done to.
    #[set(default = 1.0, range = 0.0..=1.0)]
    pub probability: f64,
}

impl Augment for Cutout {
    fn images(&self, images: &Tensor, noise: &Noise) -> Result<Tensor> {
        let (_, _, height, width) = images.size4()?;
        let [y, x] = [("cutout.y", height), ("cutout.x", width)].map(|(name, length)| noise.below(name, length, &[1]));
        let half = self.size / 2;
        let cut = window([&(&y - half), &(y + half)], [&(&x - half), &(x + half)], height, width);
        let chosen = happens(noise, "cutout.happens", self.probability).view([-1, 1, 1, 1]);
        Ok(images.masked_fill(&cut.logical_and(&chosen), 0))
    }
}

register!(dyn Augment, "cutout", Cutout, "{ size: 16 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::from_yaml;
    use tch::Device;

    // x = torch.ones(3, 3, 32, 32); for i, (y, c) in enumerate([(2, 30), (16, 16), (5, 5)]):
    //     x[i, :, max(0, y - 9):min(32, y + 9), max(0, c - 9):min(32, c + 9)] = 0;  x[2] = 1
    // x.sum((1, 2, 3)) -> 2709, 2100, 3072
    #[test]
    fn a_square_is_cut_around_its_centre() {
        let cutout = from_yaml::<dyn Augment>("{ type: cutout, size: 18, probability: 0.5 }", Kind::Float);
        let mut noise = Noise::seeded(&[1], 3, Device::Cpu);
        noise.give("cutout.y", Tensor::from_slice(&[2i64, 16, 5]).view([3, 1]));
        noise.give("cutout.x", Tensor::from_slice(&[30i64, 16, 5]).view([3, 1]));
        noise.give("cutout.happens", Tensor::from_slice(&[0.1, 0.49, 0.5]).view([3, 1]));
        let images = Tensor::ones([3, 3, 32, 32], (Kind::Uint8, Device::Cpu));
        let cut = cutout.images(&images, &noise).unwrap();
        let sums = cut.sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Int64);
        assert_eq!(Vec::<i64>::try_from(sums).unwrap(), [2709, 2100, 3072]);
        assert_eq!(cut.get(0).get(1).narrow(0, 0, 11).narrow(1, 21, 11).sum(Kind::Int64).int64_value(&[]), 0);
        assert_eq!(images.min().int64_value(&[]), 1);
    }
}
