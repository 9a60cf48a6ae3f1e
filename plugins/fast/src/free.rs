//! Free adversarial training: the attack's gradient is the training's own.
//!
//! Shafahi et al., "Adversarial Training for Free!", NeurIPS 2019, arXiv:1904.12843, Algorithm 1.

use foil::prelude::*;

/// The attack of Free adversarial training (Shafahi et al. 2019): a perturbation that moves with
/// the gradient by which the weights are trained, so that attacking costs no pass of its own.
///
/// It goes with the update `replay`, which takes several steps on each batch: `attack: { type:
/// free, eps: 8/255 }`, `loss: { type: at, log_clean: false }`, `update: { type: replay, times: 8
/// }`. Each step trains on x + d, with d = 0 at the start of the run; from its gradient g come the
/// next step's d + alpha · sign(g), put back into the ball and into \[0, 1\]. d belongs to a place
/// in the batch and not to an image: the next batch starts from where the last one ended, and there
/// x + d may leave \[0, 1\]. All of that is as in the code of Wong et al. ("Fast is better than
/// free", 2020). It is an attack for training only.
#[settings]
pub struct Free {
    /// The ball's radius.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub eps: Scheduled,
    /// The step; by default `eps`, as in that code.
    #[set(default, unit = "image", range = 0.0..=1.0)]
    pub alpha: Option<Scheduled>,
}

struct Attacking {
    eps: Scheduled,
    alpha: Scheduled,
    /// The perturbation of each place in a batch, `[B, C, H, W]`.
    delta: Tensor,
}

impl Config<dyn Attack> for Free {
    fn build(&self, cx: &Build) -> Result<Box<dyn Attack>> {
        let size = [cx.batch_size(), cx.data.channels, cx.data.height, cx.data.width];
        let alpha = self.alpha.as_ref().unwrap_or(&self.eps).clone();
        Ok(Box::new(Attacking { eps: self.eps.clone(), alpha, delta: Tensor::zeros(size, (cx.kind, cx.device)) }))
    }
}

impl Attacking {
    /// The perturbations of this rank's images.
    fn own(&self, target: &Target, batch: &Batch) -> Result<Tensor> {
        let (first, count) = (target.first_in_batch(), batch.x.size()[0]);
        match first + count <= self.delta.size()[0] {
            true => Ok(self.delta.narrow(0, first, count)),
            false => Err(Error::new("it attacks only the batches of a training run")),
        }
    }
}

impl Attack for Attacking {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        Ok(Adversarial::new(&batch.x + self.own(target, batch)?))
    }

    fn mode(&self) -> Mode {
        Mode::Train
    }

    fn threats(&self) -> Vec<Threat> {
        Threat::within(Norm::Linf, &self.eps)
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn learning(&self) -> Option<&dyn Learning> {
        Some(self)
    }

    fn learning_mut(&mut self) -> Option<&mut dyn Learning> {
        Some(self)
    }
}

impl Learning for Attacking {
    fn takes_gradient(&self) -> bool {
        true
    }

    fn after_gradient(&mut self, target: &Target, batch: &Batch, _: &Adversarial, gradient: &Tensor) -> Result<Tensor> {
        let [eps, alpha] = [&self.eps, &self.alpha].map(|number| batch.now(number).to_kind(self.delta.kind()));
        let moved = self.own(target, batch)? + gradient.sign() * alpha;
        let delta = moved.minimum(&eps).maximum(&-eps).maximum(&-&batch.x).minimum(&(1.0 - &batch.x));
        let all = target.gather_over_ranks(&delta)?;
        self.delta.narrow(0, 0, all.size()[0]).copy_(&all);
        Ok(&batch.x + delta)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("delta".into(), self.delta.shallow_clone())]
    }
}

register!(dyn Attack, "free", Free, "{ eps: 8/255 }");
