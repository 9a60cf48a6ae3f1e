//! DKL: TRADES with the KL divergence taken apart, so that its halves have weights of their own.
//!
//! Cui et al., "Decoupled Kullback-Leibler Divergence Loss", NeurIPS 2024, arXiv:2305.13948.

use foil::prelude::*;

/// DKL (Cui et al. 2024). L = CE(f(x), y) + alpha · S + beta · Q, with z = f(x), z' = f(x') and
/// means over the batch of
///
/// S = -∑ₖ sg(softmax z)ₖ log softmax(z')ₖ, where sg stops the gradient, and
/// Q = 1/4 ∑ⱼₖ wⱼ wₖ ((zⱼ - zₖ) - (z'ⱼ - z'ₖ))²: gradients flow into both.
///
/// The weights w of an image are the row of its label in a matrix of class predictions: the mean of
/// softmax(z / temperature) over the images of the class in the last epoch, at first 1/K for each.
/// (A class without images keeps its row; the authors' code divides by zero.) With `gamma` the loss
/// is the second version, GKL: w is raised to that power, and Q is divided by the batch's mean of
/// (∑ⱼ wⱼ)². Attacked images pass first. Attack: `pgd` with `objective: kl`, `start: gaussian`,
/// `mode: eval`, since S and the KL have the same gradient by x'.
#[settings]
pub struct Dkl {
    /// Weight of S; 4 on CIFAR-10, 5 on CIFAR-100.
    #[set(default = 4.0.into(), range = 0.0..)]
    pub alpha: Scheduled,
    /// Weight of Q.
    #[set(default = 20.0.into(), range = 0.0..)]
    pub beta: Scheduled,
    /// Divides the logits before the class predictions are summed up; 1 in the second version.
    #[set(default = 4.0, range = 1e-3..)]
    pub temperature: f64,
    /// Exponent of the weights in the second version: 0.2 on CIFAR-10, 0.4 on CIFAR-100.
    #[set(default, range = 0.0..=1.0)]
    pub gamma: Option<f64>,
}

struct Decoupled {
    settings: Dkl,
    /// Mean prediction of each class's images in the last epoch, `[K, K]`.
    classes: Tensor,
    /// Sums of the predictions of each class's images in this epoch, `[K, K]`.
    sums: Tensor,
}

impl Config<dyn Loss> for Dkl {
    fn build(&self, cx: &Build) -> Result<Box<dyn Loss>> {
        let k = cx.data.classes;
        let full = |value: f64| Tensor::full([k, k], value, (cx.kind, cx.device));
        Ok(Box::new(Decoupled { settings: self.clone(), classes: full(1.0 / k as f64), sums: full(0.0) }))
    }
}

impl Decoupled {
    /// Q of each image, `[N]`. With d = z - z', W = ∑ⱼ wⱼ: the sum over pairs of
    /// wⱼ wₖ (dⱼ - dₖ)² is 2 (W ∑ⱼ wⱼ dⱼ² - (∑ⱼ wⱼ dⱼ)²).
    fn pairs(&self, difference: &Tensor, weights: &Tensor) -> Tensor {
        let total = weights.sum_dim_intlist(-1, false, None::<Kind>);
        let squares = (weights * difference.square()).sum_dim_intlist(-1, false, None::<Kind>);
        let mean = (weights * difference).sum_dim_intlist(-1, false, None::<Kind>);
        (total * squares - mean.square()) * 0.5
    }
}

impl Loss for Decoupled {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Adversarial, Forward::Clean]
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let Dkl { alpha, beta, gamma, .. } = &self.settings;
        let (clean, attacked) = (input.clean()?, input.adversarial()?);
        let natural = terms::cross_entropy(clean, input.y()).mean(None::<Kind>);
        let soft = clean.detach().softmax(-1, None::<Kind>) * attacked.log_softmax(-1, None::<Kind>);
        let cross = -soft.sum_dim_intlist(-1, false, None::<Kind>).mean(None::<Kind>);
        let rows = self.classes.index_select(0, input.y()).to_kind(clean.kind());
        let difference = clean - attacked;
        let pairs = match gamma {
            None => self.pairs(&difference, &rows).mean(None::<Kind>),
            Some(gamma) => {
                let weights = rows.pow_tensor_scalar(*gamma);
                let total = weights.sum_dim_intlist(-1, false, None::<Kind>);
                self.pairs(&difference, &weights).mean(None::<Kind>) / input.mean_over_batch(&total.square())?
            }
        };
        let total = &natural + &cross * input.now(alpha) + &pairs * input.now(beta);
        Ok(LossOutput::new(total).part("natural", &natural).part("cross", &cross).part("pairs", &pairs))
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        [("classes", &self.classes), ("sums", &self.sums)]
            .map(|(name, tensor)| (name.to_string(), tensor.shallow_clone()))
            .into()
    }

    fn after_update(&mut self, input: &LossInput) -> Result<()> {
        let said = (input.clean()? / self.settings.temperature).softmax(-1, self.sums.kind());
        let batch = self.sums.zeros_like().index_add_(0, input.y(), &said);
        let _ = self.sums.g_add_(&input.sum_over_ranks(&batch)?);
        Ok(())
    }

    fn after_epoch(&mut self) {
        let of_class = self.sums.sum_dim_intlist(-1, true, None::<Kind>);
        let means = &self.sums / &of_class;
        let seen = of_class.gt(0.0);
        self.classes.copy_(&means.where_self(&seen, &self.classes));
        let _ = self.sums.zero_();
    }
}

register!(dyn Loss, "dkl", Dkl, "{ alpha: 4, beta: 20 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::loss::LossInput;
    use foil::testing::{assert_close, from_yaml, loss_on};
    use std::collections::BTreeMap;

    fn logits() -> [Tensor; 2] {
        [[[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]], [[1.0, 1.0, -1.0], [0.0, 0.5, 1.0]]].map(|z| Tensor::from_slice2(&z))
    }

    /// Three classes: [`foil::testing::FACTS`] has four.
    fn loss(settings: Dkl) -> Decoupled {
        let full = |value: f64| Tensor::full([3, 3], value, (Kind::Double, tch::Device::Cpu));
        Decoupled { settings, classes: full(1.0 / 3.0), sums: full(0.0) }
    }

    fn settings() -> Dkl {
        Dkl { alpha: 4.0.into(), beta: 20.0.into(), temperature: 4.0, gamma: None }
    }

    /// Ends an epoch that had these two images.
    fn end_epoch(loss: &mut Decoupled) {
        let [clean, attacked] = logits();
        let (y, side, clock) = (Tensor::from_slice(&[0i64, 1]), BTreeMap::new(), Clock::new(1, 1, tch::Device::Cpu));
        let passes = [(Forward::Clean, clean), (Forward::Adversarial, attacked)];
        loss.after_update(&LossInput::new(passes.into_iter().collect(), &y, &side, &clock)).unwrap();
        loss.after_epoch();
    }

    // import torch, torch.nn.functional as F
    // z = torch.tensor([[2., 0, -1], [.5, 1, 0]]).double()
    // a = torch.tensor([[1., 1, -1], [0, .5, 1]]).double()
    // z.requires_grad_(); a.requires_grad_(); y = torch.tensor([0, 1]);
    // w = torch.full((2, 3), 1 / 3).double()
    // d = (z[:, :, None] - z[:, None]) - (a[:, :, None] - a[:, None])
    // Q = (w[:, :, None] * w[:, None] * d ** 2).sum() / 8
    // S = -(z.softmax(1).detach() * a.log_softmax(1)).sum(1).mean()
    // L = F.cross_entropy(z, y) + 4 * S + 20 * Q                           # 10.42509030
    // torch.autograd.grad(4 * S + 20 * Q, [z, a])
    #[test]
    fn its_value_and_gradient_equal_pytorchs() {
        let [clean, attacked] = logits().map(|z| z.set_requires_grad(true));
        let y = Tensor::from_slice(&[0i64, 1]);
        let output = loss_on(&loss(settings()), &clean, &attacked, &y);
        assert_close(&output.total, &Tensor::from(10.42509030), 1e-8);
        let part = |name: &str| &output.parts.iter().find(|(part, _)| *part == name).unwrap().1;
        assert_close(part("pairs"), &Tensor::from(0.29166667), 1e-8);
        assert_close(part("cross"), &Tensor::from(1.04167478), 1e-8);
        let robust = output.total - terms::cross_entropy(&clean, &y).mean(None::<Kind>);
        let gradients = Tensor::run_backward(&[robust], &[&clean, &attacked], false, false);
        let expected = [
            [[3.33333333, -3.33333333, 0.0], [1.66666667, 1.66666667, -3.33333333]],
            [[-4.08430174, 4.04156400, 0.04273774], [-1.90841099, -2.06523568, 3.97364667]],
        ];
        for (gradient, expected) in gradients.iter().zip(expected) {
            assert_close(gradient, &Tensor::from_slice2(&expected), 1e-8);
        }
    }

    // p = (z / 4).softmax(1)      # rows of classes 0 and 1 after an epoch of these images
    // w = p; Q as above           # 0.30067784
    #[test]
    fn an_epoch_makes_the_next_ones_weights() {
        let mut loss = loss(settings());
        end_epoch(&mut loss);
        let expected = [
            [0.48102426, 0.29175596, 0.22721977],
            [0.33160398, 0.37575654, 0.29263948],
            [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0],
        ];
        assert_close(&loss.classes, &Tensor::from_slice2(&expected), 1e-8);
        assert_eq!(loss.sums.abs().sum(Kind::Double).double_value(&[]), 0.0);
        let [clean, attacked] = logits();
        let output = loss_on(&loss, &clean, &attacked, &Tensor::from_slice(&[0i64, 1]));
        assert_close(&output.parts[2].1, &Tensor::from(0.30067784), 1e-8);
    }

    // With M = 1/3 GKL's Q is DKL's; with the rows above and gamma 0.2: w = p ** .2; Q = .25 * (d
    // ** 2 * w[:, :, None] * w[:, None]).sum() / (w[:, :, None] * w[:, None]).sum()   # 0.29495455
    // 20 * Q + 4 * S              # 10.06579008
    #[test]
    fn the_second_version_normalises_over_the_batch() {
        let mut loss = loss(Dkl { gamma: Some(0.2), ..settings() });
        let [clean, attacked] = logits();
        let y = Tensor::from_slice(&[0i64, 1]);
        let pairs = |loss: &Decoupled| loss_on(loss, &clean, &attacked, &y).parts[2].1.copy();
        assert_close(&pairs(&loss), &Tensor::from(0.29166667), 1e-8);
        end_epoch(&mut loss);
        assert_close(&pairs(&loss), &Tensor::from(0.29495455), 1e-8);
        let output = loss_on(&loss, &clean, &attacked, &y);
        let robust = output.total - terms::cross_entropy(&clean, &y).mean(None::<Kind>);
        assert_close(&robust, &Tensor::from(10.06579008), 1e-8);
    }

    #[test]
    fn it_keeps_a_row_for_each_class_of_the_data() {
        let loss = from_yaml::<dyn Loss>("{ type: dkl }", Kind::Double);
        assert_eq!(loss.state().iter().map(|(_, t)| t.size()).collect::<Vec<_>>(), [[4, 4], [4, 4]]);
        assert!(loss.per_image().is_empty());
    }
}
