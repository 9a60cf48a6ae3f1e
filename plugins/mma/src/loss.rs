//! MMA's loss.

use foil::prelude::*;

/// MMA's loss (Ding et al. 2020). L = (1 - clean) · L_m + clean · CE(f(x), y), with `clean` = 1/3.
///
/// L_m = (1/N) · sum w_i · CE(f(x_i'), y_i): x' is at the decision boundary for correctly
/// classified images and x itself for others; w_i is 0 for images whose boundary is beyond d_max,
/// which are robust enough, otherwise 1. N counts all images. x' and w come from the attack
/// `an_pgd`; the clean pass runs before it. Table 9 of the CAT paper has a fixed radius and
/// neither w nor the clean term: that is the attack `correct_only` with the loss `at`.
#[settings]
pub struct Mma {
    /// Share of the clean images' cross-entropy. 0 is OMMA, the paper's variant without it.
    #[set(default = (1.0 / 3.0).into(), range = 0.0..=1.0)]
    pub clean: Scheduled,
    /// Share of the label's weight that is spread evenly over all classes in both
    /// cross-entropies.
    #[set(default = 0.0, range = 0.0..=1.0)]
    #[serde(skip_serializing_if = "foil::registry::is_zero")]
    pub label_smoothing: f64,
}

impl Loss for Mma {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::CleanFirst, Forward::Adversarial]
    }

    fn needs(&self) -> Vec<&'static str> {
        vec!["mma.weight"]
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let share = input.now(&self.clean);
        let ce = |logits: &Tensor| terms::smoothed_cross_entropy(logits, input.y(), self.label_smoothing);
        let natural = ce(input.clean()?).mean(None::<Kind>);
        let margin = ce(input.adversarial()?) * input.side("mma.weight")?;
        let margin = margin.mean(None::<Kind>);
        let total = &margin * (1.0 - &share) + &natural * &share;
        Ok(LossOutput::new(total).part("margin", &margin).part("natural", &natural))
    }
}

register!(dyn Loss, "mma", Mma, "{ clean: 0.3333333333333333 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, loss_from_yaml, loss_with};
    use std::collections::BTreeMap;

    // By hand: clean probabilities of the labels 0.5 and 0.8, at the boundary 0.25 and 0.5; the
    // second image is beyond d_max.
    #[test]
    fn two_images_by_hand() {
        let z = |p: [f64; 2]| Tensor::from_slice2(&p.map(|p| [p, 1.0 - p])).log();
        let y = Tensor::from_slice(&[0i64, 0]);
        let side = BTreeMap::from([("mma.weight".to_string(), Tensor::from_slice(&[1.0, 0.0]))]);
        let total =
            |yaml| loss_with(loss_from_yaml(yaml).as_ref(), &z([0.5, 0.8]), &z([0.25, 0.5]), &y, &side).unwrap().total;
        let (margin, natural) = (-0.25f64.ln() / 2.0, -(0.5f64.ln() + 0.8f64.ln()) / 2.0);
        assert_close(&total("{ type: mma }"), &Tensor::from((2.0 * margin + natural) / 3.0), 1e-12);
        assert_close(&total("{ type: mma, clean: 0 }"), &Tensor::from(margin), 1e-12);
    }

    #[test]
    fn without_the_attacks_weight_it_says_what_is_missing() {
        let (z, y) = (Tensor::from_slice2(&[[0.0, 0.0]]), Tensor::from_slice(&[0i64]));
        let error = loss_with(loss_from_yaml("{ type: mma }").as_ref(), &z, &z, &y, &BTreeMap::new()).unwrap_err();
        assert!(error.message().contains("provides no `mma.weight`"), "{error}");
    }
}
