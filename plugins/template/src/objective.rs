//! template_objective: how unlikely the model finds the label.
//!
//! Where it comes from: a paper with its equation, or your own idea in a sentence.

use foil::prelude::*;

/// 1 - p_y, the probability of all other classes together, which the attack maximises.
///
/// `foil explain` prints this page, and the keys below with their meaning.
#[settings]
pub struct TemplateObjective {
    /// Divides the logits before the softmax; larger is smoother.
    #[set(default = 1.0, above = 0.0)]
    pub temperature: f64,
}

impl Objective for TemplateObjective {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        1.0 - terms::label_probability(&(logits / self.temperature), reference.y)
    }
}

register!(dyn Objective, "template_objective", TemplateObjective, "{ temperature: 1 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, from_yaml};

    // import torch; z = torch.tensor([[2., 0., -1.], [0., 1., 3.]]); y = torch.tensor([0, 1])
    // 1 - z.softmax(1).gather(1, y[:, None])[:, 0]   # 0.1562, 0.8858
    #[test]
    fn equals_pytorch_on_two_images() {
        let z = Tensor::from_slice2(&[[2.0, 0.0, -1.0], [0.0, 1.0, 3.0]]);
        let reference = Reference { y: &Tensor::from_slice(&[0i64, 1]), clean: None };
        let objective = from_yaml::<dyn Objective>("template_objective", Kind::Double);
        assert_close(&objective.value(&z, reference), &Tensor::from_slice(&[0.1562, 0.8858]), 1e-4);
    }
}
