//! The model as an attack sees it.

use crate::engine::lap;
use crate::engine::{Network, Networks};
use crate::nn::{KEEP_THE_GRAPH, Mode, Noise, backward};
use crate::objective::{Objective, Reference};
use crate::raise;
use crate::{Error, Result};
use std::cell::RefCell;
use tch::{Kind, Tensor};

/// The result of one pass and gradient at an attacked point.
#[derive(Debug)]
pub struct Ascent {
    /// d(sum of objectives)/dx, `[N, C, H, W]`.
    pub gradient: Tensor,
    /// Logits `[N, K]`.
    pub logits: Tensor,
}

/// The model as an attack sees it: its parameters are frozen.
#[derive(Debug)]
pub struct Target<'a> {
    network: &'a Network,
    networks: Option<&'a Networks>,
    noise: &'a Noise,
    iterates: Option<&'a RefCell<Vec<Tensor>>>,
    shrinks: bool,
    skips_last_pass: bool,
    selected: Option<&'a Tensor>,
    eot: u32,
}

impl<'a> Target<'a> {
    /// The network, with the batch's random numbers for its dropout.
    pub fn new(network: &'a Network, noise: &'a Noise) -> Self {
        Self {
            network,
            networks: None,
            noise,
            iterates: None,
            shrinks: false,
            skips_last_pass: false,
            selected: None,
            eot: 1,
        }
    }

    /// Lets the attack see the networks besides the model.
    #[must_use]
    pub fn among(self, networks: &'a Networks) -> Self {
        Self { networks: Some(networks), ..self }
    }

    /// The network called `name` under `networks`, as it is, for constants: run it in
    /// [`Mode::Eval`].
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn network(&self, name: &str) -> Result<Target<'_>> {
        let none = Networks::default();
        match self.networks {
            Some(networks) => Ok(Target { network: networks.get(name)?.network(), eot: 1, selected: None, ..*self }),
            None => Err(none.get(name).err().unwrap_or_else(|| Error::new("it sees no other networks"))),
        }
    }

    /// The logits `[N, K]` of the clean images `x` that `objective` compares with, if it does: the
    /// model's in `mode`, or another network's.
    ///
    /// # Errors
    /// When there is no such network.
    pub fn clean_logits(&self, objective: &dyn Objective, x: &Tensor, mode: Mode) -> Result<Option<Tensor>> {
        match objective.network() {
            _ if !objective.needs_clean() => Ok(None),
            None => Ok(Some(self.logits(x, mode))),
            Some(name) => Ok(Some(self.network(&name)?.logits(x, Mode::Eval))),
        }
    }

    /// The same model, whose batch norm in train mode takes its statistics over the images that
    /// `selected` marks, `[N]` booleans, and normalises all images with them. For the marked images
    /// and the running statistics the result is as if they alone had been passed, but shapes stay
    /// fixed, as a captured step needs. If no image is marked, the running statistics are used and
    /// do not change.
    #[must_use]
    pub fn selecting<'b>(&'b self, selected: &'b Tensor) -> Target<'b> {
        Target { selected: Some(selected), ..*self }
    }

    /// The same model, each of whose gradients is the mean over `eot` passes, and whose logits
    /// beside it are those of the last pass: expectation over transformation, for a network that
    /// draws random numbers (Athalye et al. 2018, "Obfuscated gradients", section 4.1; AutoAttack's
    /// `eot_iter`). Each pass draws its own. With 1, or 0, it is one pass.
    #[must_use]
    pub fn averaging(&self, eot: u32) -> Target<'_> {
        Target { eot: eot.max(1), ..*self }
    }

    /// The sum of `sum`, of any shape, over the ranks that share the batch; no gradient flows. It
    /// makes a sum over this rank's images one over the batch's.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn sum_over_ranks(&self, sum: &Tensor) -> Result<Tensor> {
        crate::loss::sum_over_ranks(self.network.world(), sum)
    }

    /// The place of the first of this rank's images in the batch of all ranks.
    pub fn first_in_batch(&self) -> i64 {
        let world = self.network.world();
        if world.is_joined() { world.share().rows().0 } else { 0 }
    }

    /// What every rank has for each of its images, `own` `[N, …]`, in the batch's order: `[B, …]`.
    /// No gradient flows.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn gather_over_ranks(&self, own: &Tensor) -> Result<Tensor> {
        let world = self.network.world();
        if !world.is_joined() {
            return Ok(own.detach());
        }
        let (first, count) = world.share().rows();
        let all = Tensor::zeros([&[world.share().all], &own.size()[1..]].concat(), (own.kind(), own.device()));
        all.narrow(0, first, count).copy_(&own.detach());
        self.sum_over_ranks(&all)
    }

    /// For an evaluation that asks only whether each image falls, and does not capture the attack.
    #[must_use]
    pub fn shrinking(mut self) -> Self {
        self.shrinks = true;
        self
    }

    /// Whether an attack may read the device and continue with only the images that it has not
    /// broken yet. Whether an image is broken must not depend on this.
    pub fn shrinks(&self) -> bool {
        self.shrinks
    }

    /// For an attack that [ends with a train pass](crate::attack::Attack::ends_with_train_pass):
    /// it leaves that pass out, since the caller's own next pass finds the same.
    #[must_use]
    pub fn skipping_last_pass(mut self) -> Self {
        self.skips_last_pass = true;
        self
    }

    /// Whether the attack must leave out the pass that it ends with.
    pub fn skips_last_pass(&self) -> bool {
        self.skips_last_pass
    }

    /// Keeps every iterate that an attack reports; for `foil probe`.
    #[must_use]
    pub fn recording(mut self, iterates: &'a RefCell<Vec<Tensor>>) -> Self {
        self.iterates = Some(iterates);
        self
    }

    /// Reports the current point `x` of an iterative attack.
    pub fn iterate(&self, x: &Tensor) {
        if let Some(iterates) = self.iterates {
            iterates.borrow_mut().push(x.detach().copy());
        }
    }

    /// Logits `[N, K]` without gradient.
    pub fn logits(&self, x: &Tensor, mode: Mode) -> Tensor {
        tch::no_grad(|| self.forward(x, mode))
    }

    /// Logits `[N, K]`; differentiable in `x` if `x` requires a gradient (for networks before the
    /// model, such as CAT's g).
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        match self.selected {
            Some(selected) => self.network.frozen_selecting(x, mode, Some(self.noise), selected),
            None => self.network.frozen(x, mode, Some(self.noise)),
        }
    }

    /// Runs `work` with the network in training's precision, even during an evaluation.
    pub fn as_trained<T>(&self, work: impl FnOnce() -> T) -> T {
        let _trained = self.network.as_trained();
        work()
    }

    /// The gradient of an objective with respect to the input.
    ///
    /// # Panics
    /// When the model's logits do not depend differentiably on its images, or the objective on the
    /// logits; the engine turns it into an error that names the model.
    pub fn ascend(&self, x: &Tensor, mode: Mode, objective: &dyn Objective, reference: Reference) -> Ascent {
        let value = |logits: &Tensor| objective.value(logits, reference);
        self.averaged(x, mode, &value, &|logits| {
            objective.logit_grad(&logits.detach(), reference).unwrap_or_else(|| raise(by_autograd(logits, &value)))
        })
    }

    /// The gradient of any `value` (`[N, K]` to `[N]`) with respect to the input.
    ///
    /// # Panics
    /// As [`Target::ascend`].
    pub fn gradient(&self, x: &Tensor, mode: Mode, value: &dyn Fn(&Tensor) -> Tensor) -> Ascent {
        self.averaged(x, mode, value, &|logits| raise(by_autograd(logits, value)))
    }

    /// The mean gradient over the passes, and the last one's logits.
    fn averaged(
        &self,
        x: &Tensor,
        mode: Mode,
        value: &dyn Fn(&Tensor) -> Tensor,
        d_logits: &dyn Fn(&Tensor) -> Tensor,
    ) -> Ascent {
        let pass = || raise(self.look(x, mode, value, d_logits).and_then(|found| self.needed(found, mode)));
        let mut ascent = pass();
        for _ in 1..self.eot {
            let Ascent { gradient, logits } = pass();
            ascent = Ascent { gradient: ascent.gradient + gradient, logits };
        }
        if self.eot > 1 {
            ascent.gradient /= f64::from(self.eot);
        }
        ascent
    }

    /// As [`Target::gradient`], `[N, C, H, W]`; `None` when the logits do not depend differentiably
    /// on the images.
    pub fn gradient_if_any(&self, x: &Tensor, mode: Mode, value: &dyn Fn(&Tensor) -> Tensor) -> Result<Option<Tensor>> {
        Ok(self.look(x, mode, value, &|logits| raise(by_autograd(logits, value)))?.0)
    }

    fn needed(&self, (gradient, logits): (Option<Tensor>, Tensor), mode: Mode) -> Result<Ascent> {
        let gradient = gradient.ok_or_else(|| {
            let mode = format!("{mode:?}").to_lowercase();
            let error = Error::new(format!("its logits in {mode} mode do not depend differentiably on its images"));
            let help = format!("{KEEP_THE_GRAPH}; attacks without gradients, such as square, can still evaluate it");
            self.network.blamed(error.help(help))
        })?;
        Ok(Ascent { gradient, logits })
    }

    /// The gradient of `value` with respect to the input, if there is one, and the logits;
    /// `d_logits` is that with respect to the logits.
    fn look(
        &self,
        x: &Tensor,
        mode: Mode,
        value: &dyn Fn(&Tensor) -> Tensor,
        d_logits: &dyn Fn(&Tensor) -> Tensor,
    ) -> Result<(Option<Tensor>, Tensor)> {
        lap("attack: the rest");
        // A model's own gradient assumes statistics of the whole batch.
        let own = (self.selected.is_none() || mode == Mode::Eval)
            .then(|| self.network.input_gradient(x, mode, self.noise, d_logits))
            .flatten();
        if let Some((gradient, logits)) = own {
            lap("attack: the model's own input gradients");
            return Ok((gradient.defined().then_some(gradient), logits));
        }
        let x = x.detach().set_requires_grad(true);
        let logits = self.forward(&x, mode);
        lap("attack: forward passes");
        if !logits.requires_grad() {
            return Ok((None, logits));
        }
        let gradient = ascended(&value(&logits), &x)?;
        lap("attack: backward passes");
        Ok((gradient, logits.detach()))
    }
}

/// d(sum of `value`)/d(logits), `[N, K]`.
fn by_autograd(logits: &Tensor, value: &dyn Fn(&Tensor) -> Tensor) -> Result<Tensor> {
    let logits = logits.detach().set_requires_grad(true);
    ascended(&value(&logits), &logits)?.ok_or_else(no_objective)
}

/// d(sum of `values`)/d`x`, if they depend on it.
fn ascended(values: &Tensor, x: &Tensor) -> Result<Option<Tensor>> {
    if !values.defined() || !values.requires_grad() {
        return Err(no_objective());
    }
    Ok(backward(&values.f_sum(None::<Kind>)?, &[x])?.remove(0))
}

fn no_objective() -> Error {
    Error::new("the objective does not depend differentiably on the logits").help(KEEP_THE_GRAPH)
}
