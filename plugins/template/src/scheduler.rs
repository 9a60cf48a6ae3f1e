//! template_scheduler: a number that shrinks by the same factor every epoch.
//!
//! Where it comes from: a paper with its equation, or your own idea in a sentence.

use foil::prelude::*;

/// start · gamma^t, t the number of epochs done; PyTorch's `ExponentialLR`.
///
/// `foil explain` prints this page, and the keys below with their meaning.
#[settings]
pub struct TemplateScheduler {
    /// The number in the first epoch.
    pub start: f64,
    /// Factor after each epoch.
    #[set(default = 0.9, above = 0.0, range = ..=1.0)]
    pub gamma: f64,
}

impl Scheduler for TemplateScheduler {
    fn value(&self, progress: &Progress) -> f64 {
        self.start * self.gamma.powf(progress.epoch as f64)
    }
}

register!(dyn Scheduler, "template_scheduler", TemplateScheduler, "{ start: 0.1, gamma: 0.9 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::from_yaml;

    // import torch; o = torch.optim.SGD([torch.zeros(1)], lr=.1);
    // s = torch.optim.lr_scheduler.ExponentialLR(o, .9)
    // for _ in range(3): s.step()
    // s.get_last_lr()   # 0.0729
    #[test]
    fn equals_pytorch_after_three_epochs() {
        let scheduler = from_yaml::<dyn Scheduler>("{ type: template_scheduler, start: 0.1 }", Kind::Double);
        let value = scheduler.value(&Progress { epoch: 3, step: 0, steps_per_epoch: 10, epochs: 5 });
        assert!((value - 0.0729).abs() < 1e-12, "{value}");
    }
}
