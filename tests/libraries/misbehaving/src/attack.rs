//! An attack that panics, around one that may come from the program, with a learner of its own.

use super::here;
use foil::prelude::*;

/// Any attack, with a network that learns beside it as CAT's does; panics in a place.
#[settings]
pub struct PanickingAttack {
    /// `build`, `mode`, `provides`, `learning`, `state`, `perturb`, `after_update`, `learner` or
    /// `gradient`.
    #[set(default = "")]
    pub at: String,
    /// What is called first.
    pub inner: Component<dyn Attack>,
    /// What learns, from the program or from this library.
    pub mask: Component<dyn Model>,
    /// How it learns.
    pub optimizer: Component<dyn Optimizer>,
    /// A number that may follow a scheduler of the program or of this library.
    #[set(default = 1.0.into())]
    pub scale: Scheduled,
}

struct PanickingMaskedAttack {
    config: PanickingAttack,
    inner: Box<dyn Attack>,
    mask: Learner,
}

impl Config<dyn Attack> for PanickingAttack {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        here("build", &self.at);
        let inner = cx.component("inner", &self.inner).ok_or_else(|| Error::new("no inner"))?;
        let network = cx.network("mask", &self.mask, cx.data.channels).ok_or_else(|| Error::new("no mask"))?;
        let optimizer = cx.component("optimizer", &self.optimizer).ok_or_else(|| Error::new("no optimizer"))?;
        Ok(Box::new(PanickingMaskedAttack { config: self.clone(), inner, mask: Learner::new(network, optimizer) }))
    }
}

impl Attack for PanickingMaskedAttack {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        here("perturb", &self.config.at);
        if self.config.at == "gradient" {
            target.gradient(&batch.x, Mode::Eval, &|_| panic!("told to panic in gradient"));
        }
        let scaled = &batch.x * batch.now(&self.config.scale);
        Ok(Adversarial::new(self.inner.perturb(target, batch)?.x.minimum(&scaled.clamp(0.0, 1.0).maximum(&batch.x))))
    }
    fn mode(&self) -> Mode {
        here("mode", &self.config.at);
        self.inner.mode()
    }
    fn provides(&self) -> Vec<&'static str> {
        here("provides", &self.config.at);
        Vec::new()
    }
    fn learning(&self) -> Option<&dyn Learning> {
        here("learning", &self.config.at);
        // Only an evaluation asks for the mode, and what learns cannot evaluate.
        if self.config.at == "mode" { None } else { Some(self) }
    }
    fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        if self.config.at == "mode" { None } else { Some(self) }
    }
}

impl Learning for PanickingMaskedAttack {
    fn after_update(&mut self, target: &Target, batch: &Batch, _: &Adversarial) -> Result<Vec<(&'static str, Tensor)>> {
        here("after_update", &self.config.at);
        let made = self.mask.network().differentiable(&batch.x, Mode::Train, Some(&batch.noise));
        let loss = terms::cross_entropy(&target.forward(&made, Mode::Eval), &batch.y).mean(None::<Kind>);
        self.mask.descend(&loss, batch.clock)?;
        Ok(vec![("mask_loss", loss.detach())])
    }
    fn state(&self) -> Vec<(String, Tensor)> {
        here("state", &self.config.at);
        self.mask.state("mask.")
    }
    fn learner(&self) -> Option<&Learner> {
        here("learner", &self.config.at);
        Some(&self.mask)
    }
}

register!(
    dyn Attack,
    "panicking_attack",
    PanickingAttack,
    "{ inner: { type: pgd, eps: 0.1, alpha: 0.1 }, mask: mask_cnn, optimizer: { type: sgd, lr: 0.1 } }"
);
