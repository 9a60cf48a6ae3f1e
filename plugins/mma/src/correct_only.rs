//! Table 9's simple form of MMA's images.

use foil::prelude::*;

/// Attacks only the images that the model classifies correctly (by argmax); the others stay clean.
///
/// With the loss `at` it is MMA as Table 9 of the CAT paper writes it: CE(f(x'), y) where f(x) = y,
/// else CE(f(x), y), with x' of a fixed radius from any attack such as `pgd`. One pass of the
/// clean images in the attack's mode decides which.
#[settings]
pub struct CorrectOnly {
    /// The attack on correctly classified images.
    pub inner: Component<dyn Attack>,
}

struct CorrectOnlyAttack {
    inner: Box<dyn Attack>,
}

impl Config<dyn Attack> for CorrectOnly {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let inner = cx.component("inner", &self.inner).ok_or_else(|| Error::new("its attack cannot be built"))?;
        Ok(Box::new(CorrectOnlyAttack { inner }))
    }
}

impl Attack for CorrectOnlyAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let right = target.logits(&batch.x, self.mode()).argmax(-1, false).eq_tensor(&batch.y);
        let mut adversarial = self.inner.perturb(target, batch)?;
        let only_right = |images: &Tensor| images.where_self(&right.view([-1, 1, 1, 1]), &batch.x);
        adversarial.x = only_right(&adversarial.x);
        adversarial.images.values_mut().for_each(|images| *images = only_right(images));
        Ok(adversarial)
    }

    fn soft_labels(&self) -> bool {
        // It asks which images are right.
        false
    }

    fn mode(&self) -> Mode {
        self.inner.mode()
    }

    fn inner(&self) -> Option<&dyn Attack> {
        Some(self.inner.as_ref())
    }

    fn inner_mut(&mut self) -> Option<&mut dyn Attack> {
        Some(self.inner.as_mut())
    }
}

register!(dyn Attack, "correct_only", CorrectOnly, "{ inner: { type: pgd, eps: 8/255, alpha: 2/255 } }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{attack_from_yaml, images, network};
    use foil_attacks as _;

    #[test]
    fn misclassified_images_stay_clean() {
        let (network, images) = (network(Kind::Double), images(16, 4, Kind::Double));
        let batch = images.batch(1);
        let perturb = |yaml: &str| {
            attack_from_yaml(yaml, Kind::Double).perturb(&Target::new(&network, &batch.noise), &batch).unwrap().x
        };
        let attacked = perturb("{ type: pgd, eps: 0.1, alpha: 0.02 }");
        let mixed = perturb("{ type: correct_only, inner: { type: pgd, eps: 0.1, alpha: 0.02 } }");
        // Each fourth label is not what the network says.
        for i in 0..16 {
            let expected = if i % 4 == 3 { &batch.x } else { &attacked };
            assert_eq!(mixed.get(i), expected.get(i), "image {i}");
        }
    }
}
