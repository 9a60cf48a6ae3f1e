//! SCORE: squared errors of probabilities in place of cross-entropy and KL.
//!
//! Pang et al., "Robustness and Accuracy Could Be Reconcilable by (Proper) Definition", ICML 2022,
//! arXiv:2202.10103, Eq. 9.

use foil::prelude::*;

/// SCORE (Pang et al. 2022, Eq. 9; the authors' `--LSE`). L = mean |p - t|² + beta · mean max(|p' -
/// p|² - clip, 0), with p = softmax f(x), p' = softmax f(x'), t the labels.
///
/// Nothing is detached; clean images pass first. Labels are smoothed as in the authors' code: the
/// label has 1 - s and each other class s/(K - 1). With `bound` the sum is clipped instead, as in
/// their runs without extra data: L = mean max(|p - t|² + beta · |p' - p|² - b, 0), where b is the
/// error of mass 1 - `bound` on the label, bound² · K/(K - 1); there attacked images pass first.
/// Attack: `pgd` with `objective: squared` and `mode: still`, or with `bound` `start: gaussian` and
/// `mode: eval`.
#[settings]
pub struct Score {
    /// Weight of the robust term; 3 for the published checkpoints.
    #[set(default = 4.0.into(), range = 0.0..)]
    pub beta: Scheduled,
    /// Robust errors below this cost nothing.
    #[set(default = 0.0, range = 0.0..)]
    pub clip: f64,
    /// Missing mass at the label below which an image costs nothing.
    #[set(default)]
    pub bound: Option<f64>,
    /// Share of the label's weight that is spread evenly over the other classes.
    #[set(default = 0.0, range = 0.0..=1.0)]
    pub label_smoothing: f64,
}

impl Loss for Score {
    fn passes(&self) -> Vec<Forward> {
        match self.bound {
            None => vec![Forward::Clean, Forward::Adversarial],
            Some(_) => vec![Forward::Adversarial, Forward::Clean],
        }
    }

    fn soft_labels(&self) -> bool {
        // The bound is the error of a prediction for one label.
        self.bound.is_none()
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let [p, q] = [input.clean()?, input.adversarial()?].map(|logits| logits.softmax(-1, None::<Kind>));
        let classes = *p.size().last().unwrap_or(&2);
        let others = (classes - 1) as f64;
        let off = self.label_smoothing / others;
        let target = terms::shares(input.y(), classes, p.kind()) * (1.0 - self.label_smoothing - off) + off;
        let natural = squares(&(&p - target));
        let robust = squares(&(&q - &p));
        let beta = input.now(&self.beta);
        let total = match self.bound {
            None => natural.mean(None::<Kind>) + (&robust - self.clip).clamp_min(0.0).mean(None::<Kind>) * beta,
            Some(mass) => {
                let bound = mass * mass * (1.0 + 1.0 / others);
                (&natural + &robust * beta - bound).clamp_min(0.0).mean(None::<Kind>)
            }
        };
        let (natural, robust) = (natural.mean(None::<Kind>), robust.mean(None::<Kind>));
        Ok(LossOutput::new(total).part("natural", &natural).part("robust", &robust))
    }
}

/// The sum of squares of each row, `[N]`.
fn squares(values: &Tensor) -> Tensor {
    values.square().sum_dim_intlist(-1, false, None::<Kind>)
}

/// The squared distance between the predictions for the attacked and the clean image, |softmax
/// f(x') - softmax f(x)|² (Pang et al. 2022). At x' = x its gradient is zero.
#[settings]
pub struct Squared {}

impl Objective for Squared {
    fn value(&self, logits: &Tensor, reference: Reference) -> Tensor {
        match reference.clean {
            Some(clean) => squares(&(logits.softmax(-1, None::<Kind>) - clean.softmax(-1, None::<Kind>))),
            None => panic!("the objective `squared` was given no clean logits"),
        }
    }

    fn needs_clean(&self) -> bool {
        true
    }

    fn soft_labels(&self) -> bool {
        true
    }
}

register!(dyn Loss, "score", Score, "{ beta: 4 }");
register!(dyn Objective, "squared", Squared, "{}");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, from_yaml, loss_from_yaml, loss_on};

    // z, a, y as in TRADES's test; p, q = z.softmax(1), a.softmax(1); t = one-hot, or its smoothed
    // form; n, r = ((p - t) ** 2).sum(1), ((q - p) ** 2).sum(1)
    // n.mean() + 4 * r.mean();  n.mean() + 3 * F.relu(r - .1).mean();
    // F.relu(n + 6 * r - .09 * 1.5).mean()
    #[test]
    fn equals_pytorch() {
        let clean = Tensor::from_slice2(&[[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]]);
        let attacked = Tensor::from_slice2(&[[1.0, 1.0, -1.0], [0.0, 0.5, 1.0]]);
        for (yaml, expected) in [
            ("score", 1.0532611994118366),
            ("{ type: score, beta: 3, clip: 0.1 }", 0.5414275146396932),
            ("{ type: score, label_smoothing: 0.1 }", 0.9708024682423857),
            ("{ type: score, beta: 6, bound: 0.3 }", 1.3419285689561233),
        ] {
            let output = loss_on(loss_from_yaml(yaml).as_ref(), &clean, &attacked, &Tensor::from_slice(&[0i64, 1]));
            assert_close(&output.total, &Tensor::from(expected), 1e-12);
        }
    }

    // torch.autograd.grad(((a.softmax(1) - p) ** 2).sum(), a)
    #[test]
    fn the_objectives_gradient_equals_pytorchs() {
        let clean = Tensor::from_slice2(&[[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]]);
        let logits = Tensor::from_slice2(&[[1.0, 1.0, -1.0], [0.0, 0.5, 1.0]]).set_requires_grad(true);
        let objective = from_yaml::<dyn Objective>("squared", Kind::Double);
        let y = Tensor::from_slice(&[0i64, 1]);
        let value = objective.value(&logits, Reference { y: &y, clean: Some(&clean) }).sum(Kind::Double);
        let found = Tensor::run_backward(&[value], &[&logits], false, false).remove(0);
        let expected = [
            [-0.34358189561909874, 0.33977639553493666, 0.0038055000841620327],
            [-0.07426286203128024, -0.17061465847680113, 0.24487752050808137],
        ];
        assert_close(&found, &Tensor::from_slice2(&expected), 1e-12);
    }
}
