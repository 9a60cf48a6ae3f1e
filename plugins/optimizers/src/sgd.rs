//! Stochastic gradient descent as `torch.optim.SGD` computes it.

use foil::nn::sgd_step;
use foil::prelude::*;
use foil::scheduler::{Clock, Progress};

/// Stochastic gradient descent with momentum, as `torch.optim.SGD`.
///
/// g = gradient + weight_decay · θ; v = momentum · v + g; θ = θ - lr · v (Nesterov: θ - lr · (g +
/// momentum · v)). Weight decay acts on every parameter, norms and biases included, as in the
/// papers' codes.
#[settings]
pub struct Sgd {
    /// Learning rate: a number or a scheduler.
    #[set(range = 0.0..)]
    pub lr: Scheduled,
    /// Momentum.
    #[set(default = 0.9, range = 0.0..1.0)]
    pub momentum: f64,
    /// Weight decay.
    #[set(default = 0.0, range = 0.0..)]
    pub weight_decay: f64,
    /// Nesterov's form of momentum.
    #[set(default = false)]
    pub nesterov: bool,
}

struct SgdOptimizer {
    config: Sgd,
    velocity: Tensor,
}

impl Config<dyn Optimizer> for Sgd {
    fn build(&self, _: &Build) -> Result<Box<dyn Optimizer>> {
        Ok(Box::new(SgdOptimizer { config: self.clone(), velocity: Tensor::new() }))
    }
}

impl Optimizer for SgdOptimizer {
    fn prepare(&mut self, values: &Tensor) {
        self.velocity = values.zeros_like();
    }

    fn update(&mut self, values: &Tensor, gradient: &Tensor, clock: &Clock) {
        let Sgd { lr, momentum, weight_decay, nesterov } = &self.config;
        let rate = lr.at(clock);
        if sgd_step([values, gradient, &self.velocity], &rate, [*momentum, *weight_decay], *nesterov) {
            return;
        }
        let gradient = if *weight_decay > 0.0 { gradient + values * *weight_decay } else { gradient.shallow_clone() };
        let mut values = values.shallow_clone();
        let _ = self.velocity.g_mul_scalar_(*momentum).g_add_(&gradient);
        let direction = if *nesterov { gradient + &self.velocity * *momentum } else { self.velocity.shallow_clone() };
        let _ = values.g_sub_(&(direction * rate));
    }

    fn learning_rate(&self, progress: &Progress) -> f64 {
        self.config.lr.value(progress)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("velocity".into(), self.velocity.shallow_clone())]
    }
}

register!(dyn Optimizer, "sgd", Sgd, "{ lr: 0.1, weight_decay: 0.0005 }");

#[cfg(test)]
mod tests {
    use crate::testing::trajectory;

    // p = torch.tensor([1., -2.], dtype=torch.float64, requires_grad=True)
    // o = torch.optim.SGD([p], lr=.1, momentum=.9, weight_decay=.01)   # nesterov=True: the second
    // for g in ([1., 2.], [.5, -1.], [0., 3.]):
    //     p.grad = torch.tensor(g, dtype=torch.float64); o.step()
    // p.tolist()
    #[test]
    fn equals_pytorch() {
        trajectory("{ type: sgd, lr: 0.1, weight_decay: 0.01 }", &[0.628824699, -2.640129798]);
    }

    #[test]
    fn nesterov_equals_pytorch() {
        trajectory(
            "{ type: sgd, lr: 0.1, weight_decay: 0.01, nesterov: true }",
            &[0.5137745152409999, -2.9690325740819996],
        );
    }
}
