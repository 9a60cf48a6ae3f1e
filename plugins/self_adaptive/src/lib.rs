//! Self-adaptive training: each image's label moves towards what the network says of it.
//!
//! Huang et al., "Self-Adaptive Training: beyond Empirical Risk Minimization", NeurIPS 2020,
//! arXiv:2002.10319, with TRADES as in section 5.

use foil::prelude::*;

/// Self-adaptive TRADES (Huang et al. 2020). L = mean uᵢ · CE(f(xᵢ), sᵢ) + beta · KL(softmax f(x) ‖
/// softmax f(x')).
///
/// From epoch `start` on the soft label of an image, at first its label, is mixed with the clean
/// prediction, s ← momentum · s + (1 - momentum) · softmax f(x), in the step that then uses it; its
/// weight u is the label's largest probability, scaled so that the batch's mean is 1. Neither
/// carries a gradient. Before that epoch this is TRADES with one clean pass. Attack: as `trades`.
#[settings]
pub struct SelfAdaptive {
    /// Weight of the robust term.
    #[set(default = 6.0.into(), range = 0.0..)]
    pub beta: Scheduled,
    /// Share of a soft label that an epoch keeps.
    #[set(default = 0.9, range = 0.0..=1.0)]
    pub momentum: f64,
    /// Epochs of TRADES before the first one that moves the labels.
    #[set(default = 69, range = 0..)]
    pub start: u64,
}

struct Adapting {
    settings: SelfAdaptive,
    /// The soft labels `[train, K]`; 0 until an image's label has moved.
    labels: Tensor,
    /// Epochs done, `[]` double: on the device, so that a captured step sees it change.
    epochs: Tensor,
}

impl Config<dyn Loss> for SelfAdaptive {
    fn build(&self, cx: &Build) -> Result<Box<dyn Loss>> {
        let labels = Tensor::zeros([cx.data.train, cx.data.classes], (cx.kind, cx.device));
        let epochs = Tensor::zeros([] as [i64; 0], (Kind::Double, cx.device));
        Ok(Box::new(Adapting { settings: self.clone(), labels, epochs }))
    }
}

impl Adapting {
    /// Whether labels move, `[]` bool.
    fn moves(&self) -> Tensor {
        self.epochs.ge(self.settings.start as f64)
    }

    /// The soft labels of the batch after this step, `[N, K]`, once labels move.
    fn moved(&self, input: &LossInput) -> Result<Tensor> {
        let SelfAdaptive { momentum, .. } = self.settings;
        let said = input.clean()?.detach().softmax(-1, None::<Kind>);
        let kept = self.labels.index_select(0, input.index()?).to_kind(said.kind());
        let is_new = kept.sum_dim_intlist(-1, true, None::<Kind>).eq(0.0);
        let kept = one_hot(&said, input.y()).where_self(&is_new, &kept);
        Ok(kept * momentum + said * (1.0 - momentum))
    }
}

/// 1 at the labels `[N]`, in the shape of `logits` `[N, K]`.
fn one_hot(logits: &Tensor, y: &Tensor) -> Tensor {
    logits.zeros_like().scatter_value(1, &y.unsqueeze(1), 1.0)
}

impl Loss for Adapting {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial]
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let clean = input.clean()?;
        let (moves, moved) = (self.moves(), self.moved(input)?);
        let labels = moved.where_self(&moves, &one_hot(&clean.detach(), input.y()));
        // Before labels move each has a probability of 1, so each weight is 1.
        let sure = labels.amax(-1, false);
        let weights = &sure / input.mean_over_batch(&sure)?;
        let of_image = -(labels * clean.log_softmax(-1, None::<Kind>)).sum_dim_intlist(-1, false, None::<Kind>);
        let natural = (of_image * weights).mean(None::<Kind>);
        let robust = terms::kl(clean, input.adversarial()?).mean(None::<Kind>);
        let total = &natural + &robust * input.now(&self.settings.beta);
        Ok(LossOutput::new(total).part("natural", &natural).part("robust", &robust))
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        vec![("labels".into(), self.labels.shallow_clone()), ("epochs".into(), self.epochs.shallow_clone())]
    }

    fn per_image(&self) -> Vec<String> {
        vec!["labels".into()]
    }

    fn after_update(&mut self, input: &LossInput) -> Result<()> {
        let index = input.index()?;
        let moved = self.moved(input)?.to_kind(self.labels.kind());
        let now = moved.where_self(&self.moves(), &self.labels.index_select(0, index));
        let _ = self.labels.index_copy_(0, index, &now);
        Ok(())
    }

    fn after_epoch(&mut self) {
        let _ = self.epochs.g_add_scalar_(1.0);
    }
}

register!(dyn Loss, "self_adaptive", SelfAdaptive, "{ beta: 6, start: 69 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::distributed::World;
    use foil::testing::assert_close;
    use std::collections::BTreeMap;

    /// The loss of the fact sheet's logits as images 4 and 2 of five, and the soft labels after.
    fn step(loss: &mut Adapting) -> (LossOutput, Tensor) {
        let clean = Tensor::from_slice2(&[[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]]);
        let attacked = Tensor::from_slice2(&[[1.0, 1.0, -1.0], [0.0, 0.5, 1.0]]);
        let passes =
            || [(Forward::Clean, &clean), (Forward::Adversarial, &attacked)].map(|(pass, z)| (pass, z.shallow_clone()));
        let (y, side, clock) = (Tensor::from_slice(&[0i64, 1]), BTreeMap::new(), Clock::new(1, 1, tch::Device::Cpu));
        let index = Tensor::from_slice(&[4i64, 2]);
        let input =
            || LossInput::new(passes().into_iter().collect(), &y, &side, &clock).of_images(&index, World::alone());
        let output = loss.forward(&input()).unwrap();
        loss.after_update(&input()).unwrap();
        (output, loss.labels.index_select(0, &index))
    }

    fn loss(start: u64) -> Adapting {
        let of = (Kind::Double, tch::Device::Cpu);
        let settings = SelfAdaptive { beta: 6.0.into(), momentum: 0.9, start };
        Adapting { settings, labels: Tensor::zeros([5, 3], of), epochs: Tensor::zeros([] as [i64; 0], of) }
    }

    // import torch, torch.nn.functional as F
    // z = torch.tensor([[2., 0, -1], [.5, 1, 0]]).double()
    // a = torch.tensor([[1., 1, -1], [0, .5, 1]]).double()
    // s = F.one_hot(torch.tensor([0, 1]), 3).double()
    // for _ in range(2):
    //     s = .9 * s + .1 * z.softmax(1); u = s.max(1).values; u = u * 2 / u.sum()
    //     natural = (u * -(s * z.log_softmax(1)).sum(1)).mean()   # 0.45533874, then 0.48235118
    //     natural + 6 * F.kl_div(a.log_softmax(1), z.softmax(1), reduction="batchmean")
    //                                                  # 2.07201356, then 2.09902599
    #[test]
    fn labels_move_and_are_used_at_once() {
        let mut loss = loss(0);
        let (output, labels) = step(&mut loss);
        assert_close(&output.parts[0].1, &Tensor::from(0.45533874), 1e-8);
        assert_close(&output.total, &Tensor::from(2.07201356), 1e-8);
        let expected = [[0.98437947, 0.01141952, 0.00420101], [0.03071959, 0.95064804, 0.01863237]];
        assert_close(&labels, &Tensor::from_slice2(&expected), 1e-8);
        let (output, _) = step(&mut loss);
        assert_close(&output.total, &Tensor::from(2.09902599), 1e-8);
        let untouched = loss.labels.index_select(0, &Tensor::from_slice(&[0i64, 1, 3]));
        assert_eq!(untouched.abs().sum(Kind::Double).double_value(&[]), 0.0);
    }

    // F.cross_entropy(z, y) + 6 * the KL above       # 2.04173266
    #[test]
    fn before_its_epoch_it_is_trades() {
        let mut loss = loss(1);
        let (output, labels) = step(&mut loss);
        assert_close(&output.total, &Tensor::from(2.04173266), 1e-8);
        assert_eq!(labels.abs().sum(Kind::Double).double_value(&[]), 0.0);
        loss.after_epoch();
        assert_close(&step(&mut loss).0.total, &Tensor::from(2.07201356), 1e-8);
    }
}
