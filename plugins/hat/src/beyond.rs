//! Images beyond the attacked ones.

use crate::BEYOND;
use foil::prelude::*;

/// Makes, besides the attacked images x' of another attack, a set `beyond`: x + factor · (x' - x)
/// (Rade & Moosavi-Dezfooli 2022, Algorithm 1, line 7).
///
/// They are not clamped to [0, 1] and lie up to `factor` radii from x, as in the authors' code.
#[settings]
pub struct Beyond {
    /// The attack.
    pub inner: Component<dyn Attack>,
    /// How far beyond; 2 in the paper.
    #[set(default = 2.0.into(), range = 0.0..)]
    pub factor: Scheduled,
}

struct BeyondAttack {
    inner: Box<dyn Attack>,
    factor: Scheduled,
}

impl Config<dyn Attack> for Beyond {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let inner = cx.component("inner", &self.inner).ok_or_else(|| Error::new("its `inner` cannot be built"))?;
        Ok(Box::new(BeyondAttack { inner, factor: self.factor.clone() }))
    }
}

impl BeyondAttack {
    fn further(&self, batch: &Batch, found: Adversarial) -> Adversarial {
        let beyond = &batch.x + (&found.x - &batch.x) * batch.now(&self.factor);
        found.with_images(BEYOND, beyond)
    }
}

impl Attack for BeyondAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let found = self.inner.perturb(target, batch)?;
        Ok(self.further(batch, found))
    }

    fn complete(&mut self, target: &Target, batch: &Batch, x_adv: Tensor) -> Result<Adversarial> {
        let found = self.inner.complete(target, batch, x_adv)?;
        Ok(self.further(batch, found))
    }

    fn mode(&self) -> Mode {
        self.inner.mode()
    }

    fn images(&self) -> Vec<&'static str> {
        let mut images = self.inner.images();
        images.push(BEYOND);
        images
    }

    fn inner(&self) -> Option<&dyn Attack> {
        Some(self.inner.as_ref())
    }

    fn inner_mut(&mut self) -> Option<&mut dyn Attack> {
        Some(self.inner.as_mut())
    }
}

register!(
    dyn Attack,
    "beyond",
    Beyond,
    "{ inner: { type: pgd, objective: kl, eps: 8/255, alpha: 2/255, steps: 10, start: gaussian } }"
);
