//! Adam as `torch.optim.Adam` computes it.

use foil::prelude::*;
use foil::scheduler::{Clock, Progress};

/// Adam (Kingma & Ba 2015, Algorithm 1), as `torch.optim.Adam`.
///
/// g = gradient + weight_decay · θ;  m = β1 m + (1-β1) g;  v = β2 v + (1-β2) g²;
/// θ = θ - lr · m/(1-β1^t) / (sqrt(v/(1-β2^t)) + eps).
#[settings]
pub struct Adam {
    /// Learning rate: a number or a scheduler.
    #[set(default = 1e-3.into(), range = 0.0..)]
    pub lr: Scheduled,
    /// Decay of the mean of gradients.
    #[set(default = 0.9, range = 0.0..1.0)]
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    #[set(default = 0.999, range = 0.0..1.0)]
    pub beta2: f64,
    /// Added to the denominator.
    #[set(default = 1e-8, range = 0.0..)]
    pub eps: f64,
    /// Weight decay, added to the gradient.
    #[set(default = 0.0, range = 0.0..)]
    pub weight_decay: f64,
    /// Groups of parameters without weight decay: `norm`, `bias` or both.
    #[set(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_decay: Vec<Group>,
}

/// Adam's and AdamW's updates, which differ in what weight decay acts on.
pub(crate) struct AdamOptimizer {
    config: Adam,
    /// Whether weight decay shrinks the parameters themselves: AdamW.
    decoupled: bool,
    decay: Decay,
    mean: Tensor,
    square: Tensor,
    /// β1^t and β2^t, `[2]` double.
    powers: Tensor,
    /// β1 and β2, `[2]` double.
    betas: Tensor,
}

impl AdamOptimizer {
    pub(crate) fn new(config: Adam, decoupled: bool, cx: &Build) -> Self {
        let betas = Tensor::from_slice(&[config.beta1, config.beta2]).to_device(cx.device);
        let powers = Tensor::ones([2], (Kind::Double, cx.device));
        let [mean, square] = [(); 2].map(|()| Tensor::new());
        Self { config, decoupled, decay: Decay::default(), mean, square, powers, betas }
    }
}

impl Config<dyn Optimizer> for Adam {
    fn build(&self, cx: &Build) -> Result<Box<dyn Optimizer>> {
        Ok(Box::new(AdamOptimizer::new(self.clone(), false, cx)))
    }
}

impl Optimizer for AdamOptimizer {
    fn prepare(&mut self, values: &Tensor, spans: &[Span]) {
        self.decay = Decay::new(self.config.weight_decay, &self.config.no_decay, values, spans);
        self.mean = values.zeros_like();
        self.square = values.zeros_like();
    }

    fn update(&mut self, values: &Tensor, gradient: &Tensor, clock: &Clock) {
        let Adam { lr, beta1, beta2, eps, .. } = &self.config;
        let gradient = match self.decoupled {
            true => {
                self.decay.shrink(values, &lr.at(clock));
                gradient.shallow_clone()
            }
            false => self.decay.added(gradient, values),
        };
        let _ = self.powers.g_mul_(&self.betas);
        let corrections: Tensor = 1.0 - &self.powers;
        let _ = self.mean.g_mul_scalar_(*beta1).g_add_(&(&gradient * (1.0 - beta1)));
        let _ = self.square.g_mul_scalar_(*beta2).g_add_(&(gradient.square() * (1.0 - beta2)));
        let denominator = (self.square.sqrt() / corrections.get(1).sqrt()).g_add_scalar_(*eps);
        let step = lr.at(clock) / corrections.get(0);
        let _ = values.shallow_clone().g_sub_(&(&self.mean / denominator * step));
    }

    fn learning_rate(&self, progress: &Progress) -> f64 {
        self.config.lr.value(progress)
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        [("mean", &self.mean), ("square", &self.square), ("powers", &self.powers)]
            .map(|(name, t)| (name.to_string(), t.shallow_clone()))
            .into()
    }
}

register!(dyn Optimizer, "adam", Adam, "{ lr: 0.001 }");

#[cfg(test)]
mod tests {
    use crate::testing::{grouped, trajectory};

    // as in sgd.rs, with torch.optim.Adam([p], lr=.1, weight_decay=.01)
    #[test]
    fn equals_pytorch() {
        trajectory("{ type: adam, lr: 0.1, weight_decay: 0.01 }", &[0.7340657489933973, -2.188369660173714]);
    }

    // as in sgd.rs, with torch.optim.Adam([{"params": [a], "weight_decay": .01},
    //     {"params": [b]}], lr=.1)
    #[test]
    fn groups_without_decay_equal_pytorch() {
        let adam = "{ type: adam, lr: 0.1, weight_decay: 0.01, no_decay: [norm] }";
        grouped(adam, &[0.7340657489933973, -2.1901657213378956]);
    }
}
