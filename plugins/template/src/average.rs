//! template_average: the mean of all weights since the training began.
//!
//! Where it comes from: a paper with its equation, or your own idea in a sentence.

use foil::prelude::*;

/// After update n the average moves by 1/n^power towards the weights: with 1 it is the mean of all
/// weights so far, with less the later ones count more.
///
/// Polyak & Juditsky (1992) with `power: 1`. `foil explain` prints this page, and the keys below
/// with their meaning.
#[settings]
pub struct TemplateAverage {
    /// How fast it slows down.
    #[set(default = 1.0, range = 0.0..=1.0)]
    pub power: f64,
}

struct Mean {
    power: f64,
    /// Updates so far, `[]` double.
    updates: Tensor,
}

impl Config<dyn Average> for TemplateAverage {
    fn build(&self, cx: &Build) -> Result<Box<dyn Average>> {
        let updates = Tensor::zeros([] as [i64; 0], (Kind::Double, cx.device));
        Ok(Box::new(Mean { power: self.power, updates }))
    }
}

impl Average for Mean {
    fn after_update(&mut self, _: &Clock) -> Option<Tensor> {
        let _ = self.updates.g_add_scalar_(1.0);
        Some(self.updates.pow_tensor_scalar(-self.power))
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("updates".into(), self.updates.shallow_clone())]
    }
}

register!(dyn Average, "template_average", TemplateAverage, "{ power: 0.75 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::from_yaml;

    // from torch.optim.swa_utils import AveragedModel; m = torch.nn.Linear(1, 1, bias=False)
    // average = AveragedModel(m)
    // for w in (1., 2., 6.): m.weight.data.fill_(w); average.update_parameters(m)
    // average.module.weight   # 3
    #[test]
    fn equals_pytorch_after_three_updates() {
        let mut average = from_yaml::<dyn Average>("template_average", Kind::Double);
        let (clock, mut mean) = (Clock::new(1, 3, tch::Device::Cpu), 0.0);
        for weight in [1.0, 2.0, 6.0] {
            mean += average.after_update(&clock).unwrap().double_value(&[]) * (weight - mean);
        }
        assert!((mean - 3.0).abs() < 1e-12, "{mean}");
    }
}
