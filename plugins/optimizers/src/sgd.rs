//! Stochastic gradient descent as `torch.optim.SGD` computes it.

use foil::nn::sgd_step;
use foil::prelude::*;
use foil::scheduler::{Clock, Progress};

/// Stochastic gradient descent with momentum, as `torch.optim.SGD`.
///
/// g = gradient + weight_decay · θ; v = momentum · v + g; θ = θ - lr · v (Nesterov: θ - lr · (g +
/// momentum · v)). Weight decay acts on every parameter, norms and biases included, as in the
/// papers' codes, unless `no_decay` leaves them out.
#[settings]
pub struct Sgd {
    /// Learning rate: a number or a scheduler.
    #[set(range = 0.0..)]
    pub lr: Scheduled,
    /// Momentum: a number or a scheduler, such as PyTorch's one-cycle, whose momentum falls from
    /// 0.95 to 0.85 while the learning rate rises, and rises again. The velocity is not rescaled
    /// when it changes.
    #[set(default = 0.9.into(), range = 0.0..1.0)]
    pub momentum: Scheduled,
    /// Weight decay.
    #[set(default = 0.0, range = 0.0..)]
    pub weight_decay: f64,
    /// Groups of parameters without weight decay: `norm`, `bias` or both.
    #[set(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_decay: Vec<Group>,
    /// Nesterov's form of momentum.
    #[set(default = false)]
    pub nesterov: bool,
}

struct SgdOptimizer {
    config: Sgd,
    decay: Decay,
    velocity: Tensor,
}

impl Config<dyn Optimizer> for Sgd {
    fn build(&self, _: &Build) -> Result<Box<dyn Optimizer>> {
        Ok(Box::new(SgdOptimizer { config: self.clone(), decay: Decay::default(), velocity: Tensor::new() }))
    }
}

impl Optimizer for SgdOptimizer {
    fn prepare(&mut self, values: &Tensor, spans: &[Span]) {
        self.decay = Decay::new(self.config.weight_decay, &self.config.no_decay, values, spans);
        self.velocity = values.zeros_like();
    }

    fn update(&mut self, values: &Tensor, gradient: &Tensor, clock: &Clock) {
        let Sgd { lr, momentum, nesterov, .. } = &self.config;
        let rate = lr.at(clock);
        if momentum.constant().is_some_and(|momentum| self.update_by_kernel(values, gradient, &rate, momentum)) {
            return;
        }
        let gradient = self.decay.added(gradient, values);
        let _ = match momentum.constant() {
            Some(momentum) => self.velocity.g_mul_scalar_(momentum),
            None => self.velocity.g_mul_(&momentum.at(clock)),
        };
        let _ = self.velocity.g_add_(&gradient);
        let direction = match (*nesterov, momentum.constant()) {
            (false, _) => self.velocity.shallow_clone(),
            (true, Some(momentum)) => gradient + &self.velocity * momentum,
            (true, None) => gradient + &self.velocity * momentum.at(clock),
        };
        let _ = values.shallow_clone().g_sub_(&(direction * rate));
    }

    fn learning_rate(&self, progress: &Progress) -> f64 {
        self.config.lr.value(progress)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("velocity".into(), self.velocity.shallow_clone())]
    }
}

impl SgdOptimizer {
    /// The update in one pass over memory, where there is a kernel for it.
    fn update_by_kernel(&self, values: &Tensor, gradient: &Tensor, rate: &Tensor, momentum: f64) -> bool {
        self.decay.parts().iter().all(|part| {
            let tensors = [values, gradient, &self.velocity].map(|flat| part.of(flat));
            sgd_step(tensors.each_ref(), rate, [momentum, part.rate], self.config.nesterov)
        })
    }
}

register!(dyn Optimizer, "sgd", Sgd, "{ lr: 0.1, weight_decay: 0.0005 }");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{grouped, trajectory};
    use foil_schedulers as _;

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

    // a, b = p[:1] and p[1:] as above; o = torch.optim.SGD([{"params": [a], "weight_decay": .01},
    //     {"params": [b]}],
    //     lr=.1, momentum=.9, nesterov=True)
    #[test]
    fn groups_without_decay_equal_pytorch() {
        let sgd = "type: sgd, lr: 0.1, weight_decay: 0.01, nesterov: true";
        grouped(&format!("{{ {sgd}, no_decay: [norm] }}"), &[0.5137745152409999, -2.9868]);
        grouped(&format!("{{ {sgd}, no_decay: [bias] }}"), &[0.5137745152409999, -2.9690325740819996]);
    }

    // By hand: w = 1, weight decay .01, gradients .5 and .2, (lr, momentum) = (.1, .95), (.2, .85).
    // First g = .51 = v, w = 1 - .1 · (.51 + .95 · .51) = .90055. Then g = .2090055, v = .85 · .51
    // + g = .6425055, w = .90055 - .2 · (g + .85 · v) = .749522965.
    #[test]
    fn momentum_may_change_and_the_velocity_is_not_rescaled() {
        let two = |first: f64, second: f64| {
            format!("{{ type: piecewise_linear, count: epochs, points: [[0, {first}], [1, {second}]] }}")
        };
        let (lr, momentum) = (two(0.1, 0.2), two(0.95, 0.85));
        let yaml = format!("{{ type: sgd, lr: {lr}, momentum: {momentum}, weight_decay: 0.01, nesterov: true }}");
        let mut sgd = foil::testing::from_yaml::<dyn Optimizer>(&yaml, Kind::Double);
        let values = Tensor::from_slice(&[1.0]);
        sgd.prepare(&values, &[]);
        let clock = Clock::new(2, 1, tch::Device::Cpu);
        for (epoch, (gradient, expected)) in [(0.5, 0.90055), (0.2, 0.749522965)].into_iter().enumerate() {
            clock.set(epoch as u64, 0);
            sgd.update(&values, &Tensor::from_slice(&[gradient]), &clock);
            foil::testing::assert_close(&values, &Tensor::from_slice(&[expected]), 1e-12);
        }
    }
}
