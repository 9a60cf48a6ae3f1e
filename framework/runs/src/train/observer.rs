//! Observers of training.

/// Follows a run while it trains: a progress bar, a notebook, or `()` for nothing.
///
/// The calls of an epoch come in this order: `epoch_started`, `step_done` after each step,
/// `epoch_ended`. An epoch that is stopped ends too. Nothing is returned, so an observer cannot
/// change what is trained.
pub trait Observer {
    /// Epoch `epoch` of `epochs`, counted from 1, begins; it has `steps` steps, of which `done`
    /// were made before a resume.
    fn epoch_started(&mut self, epoch: u64, epochs: u64, steps: u64, done: u64) {
        let _ = (epoch, epochs, steps, done);
    }

    /// One more step is done. `message` gives the loss; calling it may wait for the device, so call
    /// it seldom.
    fn step_done(&mut self, message: &dyn Fn() -> String) {
        let _ = message;
    }

    /// The epoch is over; `summary` has its metrics, or says that it was stopped.
    fn epoch_ended(&mut self, summary: &str) {
        let _ = summary;
    }
}

impl Observer for () {}
