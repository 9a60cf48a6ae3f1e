//! Checks on training, and the context of its errors.

use super::Trainer;
use crate::train::heartbeat::Beat;
use foil::engine::shown;
use foil::nn::Parameters;
use foil::{Error, Result};

impl Trainer {
    /// An error if the loss or the weights are not finite: then they must be neither saved nor
    /// measured.
    pub(super) fn sound(&self) -> Result<()> {
        let loss = self.epoch_sums.loss();
        let finite = |params: &Parameters| params.flat().isfinite().all().int64_value(&[]) == 1;
        let step = &self.parts.step;
        let own = [Some(("model", &step.model)), step.attack.learner().map(|mask| ("mask network", mask))];
        let mut networks = own.into_iter().flatten().chain(step.networks.learners());
        let spoilt = networks.find(|(_, learner)| !finite(learner.network().params()));
        let what = match spoilt {
            _ if loss.is_some_and(|loss| !loss.is_finite()) => "the loss is not finite".to_string(),
            Some((what, _)) => format!("the weights of the {what} are not finite"),
            None => return Ok(()),
        };
        let help = "try a smaller learning rate; `optimizer.lr` may ramp up with `type: piecewise_linear`";
        Err(Error::new(what).help(help))
    }

    /// Adds to an error the epoch and step, the rank that failed if there are several, and the
    /// last good checkpoint.
    pub(super) fn here(&self, error: Error) -> Error {
        let stands = if self.saved {
            format!("the last good checkpoint is {}", self.folder.state().display())
        } else {
            "nothing was saved before that".to_string()
        };
        let error = self.world.explain(error);
        let at = match (self.position.epoch + 1, self.position.step) {
            (epoch, step) if step == self.steps_an_epoch() => format!("epoch {epoch}, after its last step"),
            (epoch, step) => format!("epoch {epoch}, step {}", step + 1),
        };
        Error::new(error.message()).context(at).help(match error.suggestion() {
            Some(help) if help.ends_with(&stands) => help.to_string(),
            Some(help) => format!("{help}; {stands}"),
            None => stands,
        })
    }

    /// The number of steps of an epoch.
    pub(super) fn steps_an_epoch(&self) -> u64 {
        self.pipeline.train.steps(self.train.base().len() as u64)
    }

    /// Writes a heartbeat for `foil watch`.
    pub(super) fn beat(&mut self, steps: u64) {
        let now = self.now(steps);
        self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.write(now.clone()));
    }

    /// The current beat.
    pub(super) fn now(&self, steps: u64) -> Beat {
        Beat {
            pid: std::process::id(),
            device: shown(self.device),
            epoch: self.position.epoch + 1,
            epochs: self.pipeline.train.epochs,
            step: self.position.step,
            steps,
            measuring: false,
            under_way: None,
            values: self.epoch_sums.means(),
            seconds_left: None,
        }
    }
}
