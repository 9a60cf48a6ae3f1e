//! AT: cross-entropy on attacked images.
//!
//! Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
//! arXiv:1706.06083, Eq. 2.1; the recipe is that of Rice et al., "Overfitting in adversarially
//! robust deep learning", ICML 2020 (robust_overfitting).

use foil::prelude::*;

/// AT: adversarial training (Madry et al. 2018, Eq. 2.1; Table 9, first row). L = CE(f(x'), y),
/// mean over the batch.
///
/// With `attack: none` it is undefended training.
#[settings]
pub struct At {
    /// Whether a clean pass in train mode follows each update, as in robust_overfitting's code.
    /// There it serves the log, but it also moves batch norm's running statistics towards clean
    /// images.
    #[set(default = true)]
    pub log_clean: bool,
    /// Share of the label's weight that is spread evenly over all classes.
    #[set(default = 0.0, range = 0.0..=1.0)]
    #[serde(skip_serializing_if = "foil::registry::is_zero")]
    pub label_smoothing: f64,
}

impl Loss for At {
    fn passes(&self) -> Vec<Forward> {
        if self.log_clean { vec![Forward::Adversarial, Forward::CleanAfterUpdate] } else { vec![Forward::Adversarial] }
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let ce = terms::smoothed_cross_entropy(input.adversarial()?, input.y(), self.label_smoothing);
        Ok(LossOutput::new(ce.mean(None::<Kind>)))
    }
}

register!(dyn Loss, "at", At, "{}");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, loss_from_yaml, loss_on};

    // By hand: the attacked images' labels have probabilities 0.5 and 0.2; clean logits play no
    // part.
    #[test]
    fn two_images_by_hand() {
        let attacked = Tensor::from_slice2(&[[0.5, 0.5], [0.8, 0.2]]).log();
        let clean = attacked.full_like(f64::NAN);
        let loss = loss_from_yaml("{ type: at }");
        let y = Tensor::from_slice(&[0i64, 1]);
        let side = std::collections::BTreeMap::new();
        let total = foil::testing::loss_with(loss.as_ref(), &clean, &attacked, &y, &side).unwrap().total;
        assert_close(&total, &Tensor::from(-(0.5f64.ln() + 0.2f64.ln()) / 2.0), 1e-12);
        assert_close(&loss_on(loss.as_ref(), &attacked, &attacked, &y).total, &total, 0.0);
    }
}
