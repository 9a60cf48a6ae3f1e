//! SAM: the gradient is taken where the loss is worst nearby.
//!
//! Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR
//! 2021, arXiv:2010.01412, Algorithm 1; Kwon et al., "ASAM", ICML 2021, arXiv:2102.11600.

use foil::prelude::*;

/// Sharpness-aware minimisation (Foret et al. 2021, Algorithm 1), with any attack and loss.
///
/// All weights move by rho · g/‖g‖, where g is the loss's gradient; the gradient there is the
/// optimiser's, whose step starts from the weights before they moved. With `adaptive` it is ASAM
/// (Kwon et al. 2021, Eq. 5): rho · T² g/‖T g‖, T being |w| + eta for parameters called `weight`
/// and 1 for others. Running statistics move in both passes, as in the public codes (MAIR, torch
/// SAM). The images stay as they were attacked; MAIR attacks them again at the moved weights.
#[settings]
pub struct Sam {
    /// How far the weights move.
    #[set(default = 0.05.into(), range = 0.0..)]
    pub rho: Scheduled,
    /// Whether weights move relative to their size.
    #[set(default = false)]
    pub adaptive: bool,
    /// What `adaptive` adds to a weight's size.
    #[set(default = 0.01, range = 0.0..)]
    pub eta: f64,
}

impl Config<dyn Update> for Sam {
    fn build(&self, _: &Build) -> Result<Box<dyn Update>> {
        Ok(Box::new(self.clone()))
    }
}

impl Update for Sam {
    fn update(&mut self, descent: &mut dyn Descent, clock: &Clock) -> Result<()> {
        let gradient = descent.gradient(Mode::Train)?;
        let scale = self.adaptive.then(|| self.scale(descent));
        let scaled = |values: &Tensor| scale.as_ref().map_or_else(|| values.shallow_clone(), |scale| values * scale);
        let direction = scaled(&gradient);
        let length = self.rho.at(clock) / (direction.norm() + 1e-16);
        let perturbation = scaled(&direction) * length;
        descent.shift(&perturbation, 1.0)?;
        let gradient = descent.gradient(Mode::Train)?;
        descent.shift(&perturbation, -1.0)?;
        descent.step(&gradient)
    }
}

impl Sam {
    /// |w| + eta where a parameter is called `weight`, 1 elsewhere, `[P]`.
    fn scale(&self, descent: &dyn Descent) -> Tensor {
        let scale = descent.weights().ones_like();
        for span in descent.spans().iter().filter(|span| span.name.contains("weight")) {
            let of = |flat: &Tensor| flat.narrow(0, span.start, span.length);
            of(&scale).copy_(&(of(descent.weights()).abs() + self.eta));
        }
        scale
    }
}

register!(dyn Update, "sam", Sam, "{ rho: 0.05 }");
