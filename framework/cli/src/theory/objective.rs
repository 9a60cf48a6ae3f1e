//! What is descended: Eq. 1, Eq. 17 and Eq. 7.

use foil::Result;
use foil::loss::{Forward, Loss, LossInput, LossOutput, terms};
use tch::Kind;

/// An objective of the paper. With the cross-entropy of two logits, all are in units of ln 2 times
/// [`phi`](super::phi).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// Adversarial training, Eq. 1: min E max phi(f(X') Y) over X' in B(X, eps). By foil's `pgd`
    /// and `at`.
    Eq1,
    /// The general objective of Zhang et al. 2019, Eq. 17, with lambda = 1 so that Eq. 7 differs in
    /// the constraint only: min E [phi(f(X) Y) + max phi(f(X') Y) / lambda] over X' in B(X, eps).
    Eq17,
    /// The proposed one, Eq. 7: min E [phi(f(X) Y) + max phi(f(X') Y)] over X' in B(X, eps) with
    /// f_oracle(X') = Y.
    Eq7,
}

/// phi(f(X) Y) + phi(f(X') Y), mean over the batch: Eq. 7's and Eq. 17's loss once X' is found.
#[derive(Debug)]
pub(super) struct Both;

impl Objective {
    /// In the table's order.
    pub const ALL: [Objective; 3] = [Objective::Eq1, Objective::Eq17, Objective::Eq7];

    /// The name in tables and figures.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Eq1 => "Eq. 1 (AT)",
            Objective::Eq17 => "Eq. 17 (Zhang et al.)",
            Objective::Eq7 => "Eq. 7 (proposed)",
        }
    }
}

impl Loss for Both {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial]
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let clean = terms::cross_entropy(input.clean()?, input.y());
        let worst = terms::cross_entropy(input.adversarial()?, input.y());
        Ok(LossOutput::new((clean + worst).mean(None::<Kind>)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, loss_with};
    use tch::Tensor;

    // By hand: the labels' probabilities are .5 and .8 at X, .25 and .5 at X'.
    #[test]
    fn two_points_by_hand() {
        let clean = Tensor::from_slice2(&[[0.5, 0.5], [0.2, 0.8]]).log();
        let worst = Tensor::from_slice2(&[[0.25, 0.75], [0.5, 0.5]]).log();
        let y = Tensor::from_slice(&[0i64, 1]);
        let total = loss_with(&Both, &clean, &worst, &y, &Default::default()).unwrap().total;
        let by_hand = -(0.5f64.ln() + 0.25f64.ln() + 0.8f64.ln() + 0.5f64.ln()) / 2.0;
        assert_close(&total, &Tensor::from(by_hand), 1e-12);
    }
}
