//! template_attack: steps along the sign of the gradient, without a random start.
//!
//! Where it comes from: a paper with its equation, or your own idea in a sentence.

use foil::prelude::*;

/// Iterated gradient signs on the cross-entropy. `steps` times: x' = P(x' + eps / steps ·
/// sign(gradient)), P into the ball and [0, 1].
///
/// The model runs in eval mode. `foil explain` prints this page, and the keys below with their
/// meaning.
#[settings]
pub struct TemplateAttack {
    /// The ball's radius in the norm Linf.
    #[set(unit = "image", range = 0.0..=1.0)]
    pub eps: Scheduled,
    /// Number of steps.
    #[set(default = 5, range = 1..=1000)]
    pub steps: u32,
}

/// The attack itself. What it keeps between steps is a field here, named in `Learning::state`.
struct SignSteps(TemplateAttack);

impl Config<dyn Attack> for TemplateAttack {
    fn build(&self, _: &Build) -> Result<Box<dyn Attack>> {
        Ok(Box::new(SignSteps(self.clone())))
    }
}

impl Attack for SignSteps {
    fn perturb(&mut self, target: &Target, batch: &Batch) -> Result<Adversarial> {
        let eps = batch.now(&self.0.eps);
        let (ball, step) = (Box01::new(&batch.x, &eps, true), &eps / f64::from(self.0.steps));
        let mut x = batch.x.shallow_clone();
        for _ in 0..self.0.steps {
            let value = |logits: &Tensor| terms::cross_entropy(logits, &batch.y);
            let gradient = target.gradient(&x, Mode::Eval, &value).gradient;
            x = ball.project(&(x + gradient.sign() * &step));
            target.iterate(&x); // for `foil probe`
        }
        Ok(Adversarial::new(x))
    }

    fn threats(&self) -> Vec<Threat> {
        Threat::within(Norm::Linf, &self.0.eps)
    }

    fn mode(&self) -> Mode {
        Mode::Eval
    }
}

register!(dyn Attack, "template_attack", TemplateAttack, "{ eps: 8/255, steps: 5 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{attack_from_yaml, images, network};

    #[test]
    fn stays_in_the_ball_and_raises_the_loss() {
        let (network, images) = (network(Kind::Double), images(16, 1, Kind::Double));
        let batch = images.batch(0);
        let target = Target::new(&network, &batch.noise);
        let mut attack = attack_from_yaml("{ type: template_attack, eps: 0.1 }", Kind::Double);
        let x = attack.perturb(&target, &batch).unwrap().x;
        assert!((&x - &batch.x).abs().max().double_value(&[]) <= 0.1 + 1e-12);
        assert!(x.min().double_value(&[]) >= 0.0 && x.max().double_value(&[]) <= 1.0);
        let loss = |x: &Tensor| terms::cross_entropy(&target.logits(x, Mode::Eval), &batch.y).mean(None::<Kind>);
        assert!(loss(&x).double_value(&[]) > loss(&batch.x).double_value(&[]));
    }
}
