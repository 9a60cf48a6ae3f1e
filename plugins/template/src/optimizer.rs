//! template_optimizer: steps of fixed length, in the direction that gradients agree on.
//!
//! Where it comes from: a paper with its equation, or your own idea in a sentence.

use foil::prelude::*;

/// Steps along the sign of v = momentum · v + (1 - momentum) · gradient: θ = θ - lr · sign(v).
///
/// Signum (Bernstein et al. 2018, arXiv:1802.04434, algorithm 2). `foil explain` prints this page.
#[settings]
pub struct TemplateOptimizer {
    /// Learning rate: a number or a scheduler.
    pub lr: Scheduled,
    /// Decay of the mean from step to step.
    #[set(default = 0.9, range = 0.0..1.0)]
    pub momentum: f64,
}

struct Signum {
    config: TemplateOptimizer,
    mean: Tensor,
}

impl Config<dyn Optimizer> for TemplateOptimizer {
    fn build(&self, _: &Build) -> Result<Box<dyn Optimizer>> {
        Ok(Box::new(Signum { config: self.clone(), mean: Tensor::new() }))
    }
}

impl Optimizer for Signum {
    fn prepare(&mut self, values: &Tensor, _: &[Span]) {
        self.mean = values.zeros_like();
    }

    fn update(&mut self, values: &Tensor, gradient: &Tensor, clock: &Clock) {
        let TemplateOptimizer { lr, momentum } = &self.config;
        let _ = self.mean.g_mul_scalar_(*momentum).g_add_(&(gradient * (1.0 - momentum)));
        let _ = values.shallow_clone().g_sub_(&(self.mean.sign() * lr.at(clock)));
    }

    fn learning_rate(&self, progress: &Progress) -> f64 {
        self.config.lr.value(progress)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("mean".into(), self.mean.shallow_clone())]
    }
}

register!(dyn Optimizer, "template_optimizer", TemplateOptimizer, "{ lr: 0.001 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::from_yaml;

    // from torch import DoubleTensor as t; p, v = t([1., -2.]), t([0., 0.])
    // for g in ([1., 2.], [-4., 1.], [2., 3.]): v = .9 * v + .1 * t(g); p -= .1 * v.sign()
    // p, v   # [1.1, -2.3], [-0.079, 0.552]
    #[test]
    fn equals_pytorch_after_three_steps() {
        let mut optimizer = from_yaml::<dyn Optimizer>("{ type: template_optimizer, lr: 0.1 }", Kind::Double);
        let values = Tensor::from_slice(&[1.0, -2.0]);
        optimizer.prepare(&values, &[]);
        for gradient in [[1.0, 2.0], [-4.0, 1.0], [2.0, 3.0]] {
            optimizer.update(&values, &Tensor::from_slice(&gradient), &Clock::new(1, 3, tch::Device::Cpu));
        }
        let found = Tensor::cat(&[values, optimizer.state().remove(0).1], 0);
        let off = (&found - Tensor::from_slice(&[1.1, -2.3, -0.079, 0.552])).abs().max();
        assert!(off.double_value(&[]) < 1e-12, "{found}");
    }
}
