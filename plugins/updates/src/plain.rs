//! The usual update.

use foil::prelude::*;

/// The optimiser is handed the loss's gradient: what a step does without `update`.
#[settings]
pub struct Plain {}

impl Config<dyn Update> for Plain {
    fn build(&self, _: &Build) -> Result<Box<dyn Update>> {
        Ok(Box::new(self.clone()))
    }
}

impl Update for Plain {
    fn update(&mut self, descent: &mut dyn Descent, _: &Clock) -> Result<()> {
        let gradient = descent.gradient(Mode::Train)?;
        descent.step(&gradient)
    }

    fn moves(&self) -> bool {
        false
    }
}

register!(dyn Update, "plain", Plain, "{}");
