//! AWP: the weights are attacked too.
//!
//! Wu, Xia, Wang, "Adversarial Weight Perturbation Helps Robust Generalization", NeurIPS 2020,
//! arXiv:2004.05884, Algorithm 1.

use foil::prelude::*;

/// Adversarial weight perturbation (Wu et al. 2020, Algorithm 1 and Eq. 10), with any attack and
/// loss.
///
/// The weights w of convolutions and linear layers move to w + v, layer by layer along the loss's
/// gradient d: v = gamma · ‖w‖ · d/‖d‖. The optimiser takes its step there, with the gradient there
/// and weight decay of w + v, and then v is taken away again. As in the authors' code the gradient
/// d is one of train mode that moves no running statistics; the passes at w + v move them. Costs a
/// forward and a backward pass of the loss. The authors' AT has gamma 0.01, their TRADES 0.005,
/// from epoch 10 on: `gamma: { type: steps, points: [[1, 0], [10, 0.005]], count: epochs_from_one
/// }`. (At 0 the passes are made all the same.)
#[settings]
pub struct Awp {
    /// The length of a layer's perturbation, relative to its weights'.
    #[set(default = 0.01.into(), range = 0.0..)]
    pub gamma: Scheduled,
}

impl Config<dyn Update> for Awp {
    fn build(&self, _: &Build) -> Result<Box<dyn Update>> {
        Ok(Box::new(self.clone()))
    }
}

impl Update for Awp {
    fn update(&mut self, descent: &mut dyn Descent, clock: &Clock) -> Result<()> {
        let direction = descent.gradient(Mode::Still)?;
        let perturbation = self.perturbation(descent, &direction, clock);
        descent.shift(&perturbation, 1.0)?;
        let gradient = descent.gradient(Mode::Train)?;
        descent.step(&gradient)?;
        descent.shift(&perturbation, -1.0)
    }
}

impl Awp {
    /// gamma · ‖w‖ · d/‖d‖ for each layer's weight, 0 for biases and norms.
    fn perturbation(&self, descent: &dyn Descent, direction: &Tensor, clock: &Clock) -> Tensor {
        let perturbation = direction.zeros_like();
        let gamma = self.gamma.at(clock);
        for Span { start, length, .. } in descent.spans().iter().filter(|span| span.group == Group::Weight) {
            let of = |flat: &Tensor| flat.narrow(0, *start, *length);
            let (weight, d) = (of(descent.weights()), of(direction));
            // The authors' small number, for a gradient that is 0.
            let length = weight.norm() / (d.norm() + 1e-20) * &gamma;
            of(&perturbation).copy_(&(d * length));
        }
        perturbation
    }
}

register!(dyn Update, "awp", Awp, "{ gamma: 0.01 }");
