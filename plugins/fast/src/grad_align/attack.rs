//! GradAlign's attack.

use super::{BESIDE, GRADIENT};
use foil::prelude::*;

/// GradAlign's attack: FGSM without a random start, with what the loss `grad_align` compares.
///
/// The gradient of the cross-entropy at the clean images, in train mode, gives the step of eps, and
/// is handed on as `grad_align.gradient`. A set of images `beside` is x + u, u uniform in ±eps, not
/// clamped to [0, 1], as in the authors' code. (Their FGSM steps by 1.25 eps and goes back to eps,
/// which is eps.) For training only: watch an attack of several steps.
#[settings]
pub struct GradAlignAttack {
    /// The ball's radius, the step, and the radius of u.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub eps: Scheduled,
    /// The model's mode during the attack.
    #[set(default = Mode::Train)]
    pub mode: Mode,
}

impl Config<dyn Attack> for GradAlignAttack {
    fn build(&self, _: &Build) -> Result<Box<dyn Attack>> {
        Ok(Box::new(self.clone()))
    }
}

impl Attack for GradAlignAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let eps = batch.now(&self.eps);
        target.iterate(&batch.x);
        let loss = |logits: &Tensor| terms::cross_entropy(logits, &batch.y);
        let gradient = target.gradient(&batch.x, self.mode, &loss).gradient;
        let x = Box01::new(&batch.x, &eps, true).ascend(&batch.x, &gradient, &eps);
        target.iterate(&x);
        let beside = &batch.x + (batch.uniform(BESIDE) * 2.0 - 1.0) * eps;
        Ok(Adversarial::new(x).with(GRADIENT, gradient).with_images(BESIDE, beside))
    }

    fn complete(&mut self, target: &Target, batch: &Batch, x_adv: Tensor) -> Result<Adversarial> {
        Ok(Adversarial { x: x_adv, ..self.perturb(target, batch)? })
    }

    fn provides(&self) -> Vec<&'static str> {
        vec![GRADIENT]
    }

    fn images(&self) -> Vec<&'static str> {
        vec![BESIDE]
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn threats(&self) -> Vec<Threat> {
        Threat::within(Norm::Linf, &self.eps)
    }

    fn mode(&self) -> Mode {
        self.mode
    }
}

register!(dyn Attack, "grad_align", GradAlignAttack, "{ eps: 8/255 }");
