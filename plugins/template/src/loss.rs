//! template_loss: cross-entropy of the attacked images, with some weight on the clean ones.
//!
//! Where it comes from: a paper with its equation, or your own idea in a sentence.

use foil::prelude::*;

/// Cross-entropy of attacked and clean images. L = (1 - clean) · CE(f(x'), y) + clean · CE(f(x),
/// y), means over the batch.
///
/// With `clean: 0` this is the loss `at`. `foil explain` prints this page, and the keys below with
/// their meaning.
#[settings]
pub struct TemplateLoss {
    /// Weight of the clean images: 0 trains on attacked images only, 1 on clean ones only.
    #[set(default = 0.5.into(), range = 0.0..=1.0)]
    pub clean: Scheduled,
}

impl Loss for TemplateLoss {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial]
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let share = input.now(&self.clean);
        let natural = terms::cross_entropy(input.clean()?, input.y()).mean(None::<Kind>);
        let robust = terms::cross_entropy(input.adversarial()?, input.y()).mean(None::<Kind>);
        let total = &robust * (1.0 - &share) + &natural * &share;
        Ok(LossOutput::new(total).part("natural", &natural).part("robust", &robust))
    }
}

register!(dyn Loss, "template_loss", TemplateLoss, "{ clean: 0.5 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, loss_from_yaml, loss_on};

    // import torch; from torch.nn.functional import cross_entropy as ce
    // c = torch.tensor([[2., 0.], [0., 1.]]); a = torch.tensor([[1., 0.], [1., 0.]]);
    // y = torch.tensor([0, 1])
    // .75 * ce(a, y) + .25 * ce(c, y)   # 0.6650
    #[test]
    fn equals_pytorch_on_two_images() {
        let clean = Tensor::from_slice2(&[[2.0, 0.0], [0.0, 1.0]]);
        let attacked = Tensor::from_slice2(&[[1.0, 0.0], [1.0, 0.0]]);
        let loss = loss_from_yaml("{ type: template_loss, clean: 0.25 }");
        let output = loss_on(loss.as_ref(), &clean, &attacked, &Tensor::from_slice(&[0i64, 1]));
        assert_close(&output.total, &Tensor::from(0.6650), 1e-4);
    }
}
