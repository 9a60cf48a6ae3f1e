//! Random erasing: a rectangle of one colour.

use crate::chance::happens;
use crate::window::window;
use foil::prelude::*;

/// Fills a rectangle of random size and shape (Zhong et al. 2020, arXiv:1708.04896), as
/// `torchvision.transforms.RandomErasing` does.
///
/// Area and aspect ratio are drawn up to ten times until the rectangle fits in; then its place is.
/// If none of the ten fits, the image stays as it is.
#[settings]
pub struct RandomErasing {
    /// Share of the images that it is done to.
    #[set(default = 0.5, range = 0.0..=1.0)]
    pub probability: f64,
    /// The smallest and the largest area, as shares of the image's.
    #[set(default = [0.02, 0.33])]
    pub area: [f64; 2],
    /// The smallest and the largest height over width, uniform in the logarithm.
    #[set(default = [0.3, 3.3])]
    pub ratio: [f64; 2],
    /// What the rectangle is filled with, from black, 0, to white, 1.
    #[set(default = 0.0, range = 0.0..=1.0)]
    pub value: f64,
}

/// How often a rectangle is drawn.
const TRIES: i64 = 10;

impl Augment for RandomErasing {
    fn images(&self, images: &Tensor, noise: &Noise) -> Result<Tensor> {
        let (_, _, height, width) = images.size4()?;
        let between =
            |name: &str, [low, high]: [f64; 2]| noise.uniform(name, &[TRIES], Kind::Double) * (high - low) + low;
        let area = between("erasing.area", self.area) * (height * width) as f64;
        let ratio = between("erasing.ratio", self.ratio.map(f64::ln)).exp();
        let (tall, wide) = ((&area * &ratio).sqrt().round(), (&area / &ratio).sqrt().round());
        let fits = tall.lt(height as f64).logical_and(&wide.lt(width as f64));
        let first = fits.to_kind(Kind::Uint8).argmax(1, true);
        let [tall, wide] = [tall, wide].map(|side| side.gather(1, &first, false));
        let place = |name: &str, length: i64, side: &Tensor| {
            let free = length as f64 + 1.0 - side;
            (noise.uniform(name, &[1], Kind::Double) * free).floor()
        };
        let (y, x) = (place("erasing.y", height, &tall), place("erasing.x", width, &wide));
        let filled = window([&y, &(&y + tall)], [&x, &(&x + wide)], height, width);
        let chosen = happens(noise, "erasing.happens", self.probability).logical_and(&fits.any_dim(1, true));
        Ok(images.masked_fill(&filled.logical_and(&chosen.view([-1, 1, 1, 1])), (self.value * 255.0).round() as i64))
    }

    fn check(&self, cx: &Build) {
        let [low, high] = self.area;
        if !(0.0 < low && low <= high && high <= 1.0) {
            cx.problem("area", format!("is [{low}, {high}]"), "write the smaller share first, both from 0 to 1");
        }
        let [low, high] = self.ratio;
        if !(0.0 < low && low <= high && high.is_finite()) {
            cx.problem("ratio", format!("is [{low}, {high}]"), "write the smaller ratio first, both larger than 0");
        }
    }
}

register!(dyn Augment, "random_erasing", RandomErasing, "{ probability: 0.5 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::from_yaml;
    use tch::Device;

    // As torchvision.transforms.RandomErasing.get_params, with given draws u in place of uniform_:
    // area = 32 * 32 * (.02 + u[0] * .31); ratio = exp(log(.3) + u[1] * (log(3.3) - log(.3)))
    // h, w = round(sqrt(area * ratio)), round(sqrt(area / ratio));  if h < 32 and w < 32:
    //     i = int(u[2] * (32 - h + 1)); j = int(u[3] * (32 - w + 1))
    // u = .5, .25, .1, .9 -> h 10, w 18, i 2, j 13;  first try 1., 1. -> h 33: the second one
    // counts
    #[test]
    fn the_first_rectangle_that_fits_is_filled() {
        let erasing = from_yaml::<dyn Augment>("{ type: random_erasing, probability: 1, value: 0.5 }", Kind::Float);
        let draws = |first: [f64; 2], rest: f64| {
            let mut all = vec![rest; 2 * TRIES as usize];
            (all[0], all[TRIES as usize]) = (first[0], first[1]);
            Tensor::from_slice(&all).view([2, TRIES])
        };
        let mut noise = Noise::seeded(&[1], 2, Device::Cpu);
        // Image 0 takes its first draw, image 1 its second; further ones are not used.
        noise.give("erasing.area", draws([0.5, 1.0], 0.5));
        noise.give("erasing.ratio", draws([0.25, 1.0], 0.25));
        noise.give("erasing.y", Tensor::from_slice(&[0.1, 0.1]).view([2, 1]));
        noise.give("erasing.x", Tensor::from_slice(&[0.9, 0.9]).view([2, 1]));
        let images = Tensor::zeros([2, 3, 32, 32], (Kind::Uint8, Device::Cpu));
        let filled = erasing.images(&images, &noise).unwrap();
        let expected = images.copy();
        let _ = expected.narrow(2, 2, 10).narrow(3, 13, 18).fill_(128);
        assert_eq!(filled, expected);
    }

    #[test]
    fn nothing_is_filled_where_nothing_fits_or_chance_says_so() {
        let images = Tensor::ones([40, 1, 4, 8], (Kind::Uint8, Device::Cpu));
        let noise = Noise::seeded(&[1], 40, Device::Cpu);
        let run = |yaml: &str| from_yaml::<dyn Augment>(yaml, Kind::Float).images(&images, &noise).unwrap();
        // Always as tall as the image, or taller.
        assert_eq!(run("{ type: random_erasing, probability: 1, area: [0.9, 1], ratio: [2, 3] }"), images);
        assert_eq!(run("{ type: random_erasing, probability: 0 }"), images);
        let erased = |yaml: &str| run(yaml).amin([1, 2, 3], false).eq(0).sum(Kind::Int64).int64_value(&[]);
        assert!((10..=30).contains(&erased("random_erasing")));
    }
}
