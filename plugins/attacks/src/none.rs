//! No attack: the clean images are the training images.

use foil::prelude::*;

/// Leaves the images as they are: undefended training, and the `natural` row of an evaluation.
#[settings]
pub struct None {}

impl Config<dyn Attack> for None {
    fn build(&self, _: &Build) -> Result<Box<dyn Attack>> {
        Ok(Box::new(self.clone()))
    }
}

impl Attack for None {
    fn perturb(&mut self, _: &Target, batch: &Batch) -> Result<Adversarial> {
        Ok(Adversarial::new(batch.x.shallow_clone()))
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }
}

register!(dyn Attack, "none", None, "{}");
