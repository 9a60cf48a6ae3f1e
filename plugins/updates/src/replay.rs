//! Several steps on a batch.

use foil::prelude::*;

/// Several steps on the same batch, one after the other ("minibatch replay", Shafahi et al. 2019).
///
/// Each takes the loss's gradient at the weights that the last one left. With the attack `free`
/// each sees other images, made from the last gradient; any other attack's images stay. The
/// learning rate and other scheduled numbers are those of the batch, as are the random numbers of
/// dropout. An average follows, and an attack learns, after the last step. Published recipes divide
/// the epochs by `times`.
#[settings]
pub struct Replay {
    /// The steps on each batch; Shafahi et al. take 8 for CIFAR-10.
    #[set(default = 8, range = 1..=1000)]
    pub times: u32,
}

impl Config<dyn Update> for Replay {
    fn build(&self, _: &Build) -> Result<Box<dyn Update>> {
        Ok(Box::new(self.clone()))
    }
}

impl Update for Replay {
    fn update(&mut self, descent: &mut dyn Descent, _: &Clock) -> Result<()> {
        for _ in 0..self.times {
            let gradient = descent.gradient(Mode::Train)?;
            descent.step(&gradient)?;
        }
        Ok(())
    }
}

register!(dyn Update, "replay", Replay, "{ times: 8 }");
