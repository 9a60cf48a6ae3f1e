//! template_augment: a random change of brightness.
//!
//! Where it comes from: paper, section, equation; or what is new about it.

use foil::prelude::*;

/// Multiplies each image by a random factor.
///
/// `foil explain` prints this page and the keys.
#[settings]
pub struct TemplateAugment {
    /// The largest change: a factor from 1 - `most` to 1 + `most`.
    #[set(default = 0.2, range = 0.0..=1.0)]
    pub most: f64,
}

impl Augment for TemplateAugment {
    // One that mixes images writes `mixes` and `mix` in place of this.
    fn images(&self, images: &Tensor, noise: &Noise) -> Result<Tensor> {
        // One number for each image, the same wherever and whenever it is drawn.
        let factor = 1.0 + self.most * (noise.uniform("template_augment", &[1, 1, 1], Kind::Float) * 2.0 - 1.0);
        let changed: Tensor = images.to_kind(Kind::Float) * factor;
        Ok(changed.round().clamp(0.0, 255.0).to_kind(images.kind()))
    }
}

register!(dyn Augment, "template_augment", TemplateAugment, "{ most: 0.2 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::from_yaml;
    use tch::Device;

    #[test]
    fn each_image_has_a_factor_of_its_own() {
        let augment = from_yaml::<dyn Augment>("{ type: template_augment, most: 0.5 }", Kind::Float);
        let images = Tensor::full([50, 1, 2, 2], 100, (Kind::Uint8, Device::Cpu));
        let found = augment.images(&images, &Noise::seeded(&[1], 50, Device::Cpu)).unwrap();
        assert_eq!((found.size(), found.kind()), (images.size(), Kind::Uint8));
        let (low, high) = (found.min().int64_value(&[]), found.max().int64_value(&[]));
        assert!((50..70).contains(&low) && (130..=150).contains(&high), "{low} {high}");
    }
}
