//! A step from its attacked images to its changed weights: what an update works with.

use super::lap;
use super::learner::gradients_over;
use super::passes::{Logits, Passes};
use super::step::{Step, in_attack, in_loss};
use crate::attack::{Adversarial, Batch, Target};
use crate::guard;
use crate::loss::{ImageSet, LossOutput, ONCE_ONLY};
use crate::nn::{Gradients, KEEP_THE_GRAPH, Mode, Parameters, Span};
use crate::update::Descent;
use crate::{Error, Result};
use tch::Tensor;

/// What a descent leaves: the loss and the logits of its last gradient, and the gradient that the
/// optimiser was handed.
pub(super) struct Descended {
    pub loss: LossOutput,
    pub logits: Logits,
    pub gradients: Gradients,
}

/// A descent under way.
pub(super) struct Descending<'a> {
    step: &'a mut Step,
    passes: &'a Passes,
    batch: &'a Batch<'a>,
    adversarial: &'a Adversarial,
    /// What the attack has made of it since, for the next gradient.
    moved: Option<Adversarial>,
    /// Logits of the passes before the attack, until a gradient takes them.
    before: Logits,
    /// Those of frozen networks, which are the same for each gradient over the same images.
    fixed: Logits,
    /// Of the last gradient.
    found: Option<(LossOutput, Logits)>,
    /// The last gradients of further networks that learn.
    others: Vec<Gradients>,
    used: Option<Gradients>,
}

impl<'a> Descending<'a> {
    pub fn new(
        step: &'a mut Step,
        passes: &'a Passes,
        batch: &'a Batch<'a>,
        adversarial: &'a Adversarial,
        before: Logits,
    ) -> Self {
        let (moved, fixed, found, others, used) = (None, Logits::new(), None, Vec::new(), None);
        Self { step, passes, batch, adversarial, moved, before, fixed, found, others, used }
    }

    /// The gradient of the loss, to the optimiser.
    pub fn plainly(&mut self) -> Result<()> {
        let gradient = self.gradient(Mode::Train)?;
        self.step(&gradient)
    }

    /// What it leaves.
    ///
    /// # Errors
    /// When no step was taken.
    pub fn finish(self) -> Result<Descended> {
        match (self.found, self.used) {
            (Some((loss, logits)), Some(gradients)) => Ok(Descended { loss, logits, gradients }),
            _ => Err(Error::new("it takes no step").help("call `gradient` and then `step`")),
        }
    }

    /// The gradients of `loss` by the model's parameters, by those of each further network that
    /// learns, and by `images`.
    fn gradients(&self, loss: &LossOutput, images: Option<&Tensor>) -> Result<(Vec<Gradients>, Option<Tensor>)> {
        let learners = || std::iter::once(&self.step.model).chain(self.step.networks.learners().map(|(_, l)| l));
        let params: Vec<&Parameters> = learners().map(|learner| learner.network().params()).collect();
        let world = self.step.model.network().world();
        gradients_over(&params, images, &loss.total, world).map_err(in_loss(self.step.names))
    }

    /// The attack's images as the next gradient sees them, by which it is taken too if the attack
    /// asks for that.
    fn attacked(&self, mode: Mode) -> Adversarial {
        let attacked = self.moved.as_ref().unwrap_or(self.adversarial);
        let takes =
            mode == Mode::Train && self.step.attack.learning().is_some_and(|learning| learning.takes_gradient());
        attacked.moved_to(if takes { attacked.x.detach().set_requires_grad(true) } else { attacked.x.shallow_clone() })
    }

    /// Shows the attack the gradient by its images.
    fn move_images(&mut self, attacked: &Adversarial, gradient: Option<Tensor>) -> Result<()> {
        let step = &mut *self.step;
        let none =
            || Error::new("the attack asks for the gradient by its images, and the loss does not depend on them");
        let gradient = gradient.ok_or_else(none).map_err(in_loss(step.names))?;
        let attacked = attacked.moved_to(attacked.x.detach());
        let target = Target::new(step.model.network(), &self.batch.noise).among(&step.networks);
        let learning = step.attack.learning_mut();
        let moved = learning.map(|it| tch::no_grad(|| it.after_gradient(&target, self.batch, &attacked, &gradient)));
        if let Some(x) = moved.transpose().map_err(in_attack(step.names))? {
            self.moved = Some(attacked.moved_to(x));
            self.fixed.retain(|pass, _| !matches!(pass.images(), ImageSet::Adversarial | ImageSet::Both));
        }
        lap("what the attack learns");
        Ok(())
    }
}

impl Descent for Descending<'_> {
    fn weights(&self) -> &Tensor {
        self.step.model.network().params().flat()
    }

    fn spans(&self) -> &[Span] {
        self.step.model.spans()
    }

    fn gradient(&mut self, mode: Mode) -> Result<Tensor> {
        guard(|| {
            let attacked = self.attacked(mode);
            self.step.pass_frozen(self.passes, self.batch, &attacked, &mut self.fixed)?;
            let mut logits = std::mem::take(&mut self.before);
            logits.extend(self.fixed.iter().map(|(pass, z)| (*pass, z.shallow_clone())));
            let found = self.step.pass_between(self.passes, mode, self.batch, &attacked, &mut logits)?;
            let twice = !found.leaves.is_empty();
            let (mut loss, logits) = self.step.compute_loss(self.batch, &attacked, logits, found)?;
            if !logits.is_empty() && !logits.values().any(Tensor::requires_grad) {
                let error = Error::new("its logits in train mode do not depend differentiably on its parameters");
                return Err(self.step.model.network().blamed(error.help(KEEP_THE_GRAPH)));
            }
            let images = attacked.x.requires_grad().then_some(&attacked.x);
            let gradients = self.gradients(&loss, images);
            let (mut gradients, by_images) =
                gradients.map_err(|error| if twice { error.help(ONCE_ONLY) } else { error })?;
            lap("backward");
            if images.is_some() {
                self.move_images(&attacked, by_images)?;
            }
            loss.total = loss.total.detach();
            let of_model = gradients.remove(0);
            self.others = gradients;
            self.found = Some((loss, logits));
            Ok(of_model.0)
        })
    }

    fn shift(&mut self, by: &Tensor, times: f64) -> Result<()> {
        guard(|| {
            tch::no_grad(|| drop(self.weights().shallow_clone().g_add_(&(by * times))));
            self.step.model.network().params().refresh_bf16_copy();
            Ok(())
        })
    }

    fn step(&mut self, gradient: &Tensor) -> Result<()> {
        guard(|| {
            self.used = Some(self.step.model.apply(Gradients(gradient.shallow_clone()), self.batch.clock));
            for (learner, gradients) in self.step.networks.learners_mut().zip(self.others.drain(..)) {
                learner.apply(gradients, self.batch.clock);
            }
            Ok(())
        })
    }
}
