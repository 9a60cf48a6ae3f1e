//! template_update: the gradient from a little ahead.
//!
//! Where it comes from: a paper with its equation, or your own idea in a sentence.

use foil::prelude::*;

/// The optimiser steps from w with the gradient at w - ahead · g(w), g being the loss's gradient.
///
/// The extragradient step (Korpelevich 1976). `foil explain` prints this page, and the keys below
/// with their meaning.
#[settings]
pub struct TemplateUpdate {
    /// How far ahead, in gradients: a number or a scheduler.
    #[set(default = 0.01.into(), range = 0.0..)]
    pub ahead: Scheduled,
}

impl Config<dyn Update> for TemplateUpdate {
    fn build(&self, _: &Build) -> Result<Box<dyn Update>> {
        Ok(Box::new(self.clone()))
    }
}

impl Update for TemplateUpdate {
    fn update(&mut self, descent: &mut dyn Descent, clock: &Clock) -> Result<()> {
        // `Still`: this pass leaves batch norm's running statistics as they are.
        let direction = descent.gradient(Mode::Still)?;
        let ahead = (direction * self.ahead.at(clock)).to_kind(descent.weights().kind());
        descent.shift(&ahead, -1.0)?;
        let gradient = descent.gradient(Mode::Train)?;
        descent.shift(&ahead, 1.0)?;
        descent.step(&gradient)
    }
}

register!(dyn Update, "template_update", TemplateUpdate, "{ ahead: 0.01 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{Bowl, from_yaml};

    // from torch import DoubleTensor as t; w, curve = t([1., -2.]), t([1., 3.])
    // gradient = lambda w: curve * w        # of (curve · w²/2).sum()
    // w - .1 * gradient(w - .2 * gradient(w))   # [0.92, -1.76]
    #[test]
    fn equals_pytorch_after_a_step() {
        let mut bowl = Bowl::new(&[1.0, -2.0], &[1.0, 3.0], 0.1);
        let mut update = from_yaml::<dyn Update>("{ type: template_update, ahead: 0.2 }", Kind::Double);
        update.update(&mut bowl, &Clock::new(1, 1, tch::Device::Cpu)).unwrap();
        let off = (bowl.weights() - Tensor::from_slice(&[0.92, -1.76])).abs().max();
        assert!(off.double_value(&[]) < 1e-12, "{}", bowl.weights());
    }
}
