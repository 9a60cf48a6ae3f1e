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
    /// For each image whether it is classified rightly under the attack, `[n]` bool, in the split's order. An output that is
    /// not finite is a wrong one; how many there are is logged as a warning. `tick` is called with the number of images done after each batch.
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
        let _judged = network.judged();
        let kind = network.params().kind();
        let device = network.params().device();
        let clock = Clock::new(1, 1, device);
        let key = Tensor::from(key_of(&[self.seed, name_key("eval"), name_key(self.name)])).to_device(device);
        let (mut right, mut answered) = (Vec::new(), Vec::new());
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
                Ok(judge(&target.logits(&x, Mode::Eval), &batch.y))
            });
            let hit = hit.map_err(|e: Error| e.context(format!("evaluation `{}`", self.name)))?;
            right.push(hit.right);
            answered.push(hit.answered);
            let done = batch.y.size()[0];
            start += done;
            if !go_on(done as u64) {
                return Ok(None);
            }
        }
        let lost = Tensor::cat(&answered, 0).logical_not().sum(Kind::Int64).int64_value(&[]);
        if lost > 0 {
            let (name, n) = (self.name, self.data.len());
            tracing::warn!(
                "evaluation `{name}`: the logits of {lost} of {n} images are not finite; they count as misclassified"
            );
        }
        Ok(Some(Tensor::cat(&right, 0)))
    }
}

/// What became of a batch, `[N]` bool each.
struct Hit {
    right: Tensor,
    answered: Tensor,
}

/// An image is classified rightly when its largest logit is its label's. Logits with a NaN or an infinity among them are no
/// answer: argmax would name the class of the first NaN, which may well be the label.
fn judge(logits: &Tensor, y: &Tensor) -> Hit {
    let answered = logits.isfinite().all_dim(-1, false);
    Hit { right: logits.argmax(-1, false).eq_tensor(y).logical_and(&answered), answered }
}

/// Percent of true values.
pub fn percent(right: &Tensor) -> f64 {
    right.to_kind(Kind::Double).mean(None::<Kind>).double_value(&[]) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_wrong() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let logits = Tensor::from_slice2(&[[2.0, 1.0], [1.0, 2.0], [nan, 1.0], [1.0, nan], [inf, 1.0], [1.0, -inf]]);
        let hit = judge(&logits, &Tensor::from_slice(&[0i64, 0, 0, 0, 0, 0]));
        let list = |t: &Tensor| Vec::<bool>::try_from(t).unwrap();
        assert_eq!(list(&hit.right), [true, false, false, false, false, false]);
        assert_eq!(list(&hit.answered), [true, true, false, false, false, false]);
    }
}
