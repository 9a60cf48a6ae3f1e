//! Judging a network: the share of images it classifies rightly under an attack.

use crate::attack::{Attack, Batch, Target};
use crate::data::Resident;
use crate::engine::{Network, guard};
use crate::nn::{Mode, Noise, key_of, name_key};
use crate::scheduler::Clock;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The name of the accuracy without an attack.
pub const NATURAL: &str = "natural";

/// One attack of an evaluation, over a split.
pub struct Trial<'a> {
    /// What the row is called; keys the random numbers.
    pub name: &'a str,
    /// The attack; `None` is the clean images.
    pub attack: Option<&'a mut dyn Attack>,
    /// The images.
    pub data: &'a Resident,
    /// Images at a time.
    pub batch_size: i64,
    /// Keys the random numbers.
    pub seed: u64,
}

impl Trial<'_> {
    /// For each image whether it is classified rightly under the attack, `[n]` bool, in the split's order.
    /// `tick` is called with the number of images done after each batch.
    ///
    /// # Errors
    /// What the attack reports, with its name.
    pub fn run(&mut self, network: &Network, tick: &mut dyn FnMut(u64)) -> Result<Tensor> {
        let right = self.run_while(network, &mut |n| {
            tick(n);
            true
        })?;
        right.ok_or_else(|| Error::new(format!("evaluation `{}` was stopped", self.name)))
    }

    /// As [`Trial::run`], but ends with `None` once `go_on` is false.
    ///
    /// # Errors
    /// As [`Trial::run`].
    pub fn run_while(&mut self, network: &Network, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<Tensor>> {
        let kind = network.params().kind();
        let device = network.params().device();
        let clock = Clock::new(1, 1, device);
        let key = Tensor::from(key_of(&[self.seed, name_key("eval"), name_key(self.name)])).to_device(device);
        let mut right = Vec::new();
        let mut start = 0;
        while start < self.data.len() {
            network.start_step();
            let (x, y, index) = self.data.slice(start, self.batch_size, kind);
            let noise = Noise::new(&key, &index);
            let batch = Batch { x, y, index, noise, clock: &clock, clean_logits: None };
            let hit = guard(|| {
                let target = Target::new(network, &batch.noise);
                let x = match &mut self.attack {
                    Some(attack) => attack.perturb(&target, &batch)?.x,
                    None => batch.x.shallow_clone(),
                };
                Ok(target.logits(&x, Mode::Eval).argmax(-1, false).eq_tensor(&batch.y))
            });
            right.push(hit.map_err(|e: Error| e.context(format!("evaluation `{}`", self.name)))?);
            let done = batch.y.size()[0];
            start += done;
            if !go_on(done as u64) {
                return Ok(None);
            }
        }
        Ok(Some(Tensor::cat(&right, 0)))
    }
}

/// Percent of true values.
pub fn percent(right: &Tensor) -> f64 {
    right.to_kind(Kind::Double).mean(None::<Kind>).double_value(&[]) * 100.0
}
