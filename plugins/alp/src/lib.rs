//! ALP: cross-entropy on attacked images, plus a penalty on the distance between the logits of
//! each image and its attacked form.
//!
//! Kannan et al., "Adversarial Logit Pairing", 2018, arXiv:1803.06373, Section 4; Table 9 of the
//! CAT paper, second row.

use foil::prelude::*;

/// The distance between two images' logits.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Distance {
    /// Mean over images and classes of (z(x) - z(x'))², as in the official code.
    MeanSquared,
    /// Mean over images of the Euclidean length of z(x) - z(x'), as Table 9 prints it. Where the
    /// two are equal its gradient is 0.
    Length,
}

/// ALP: adversarial logit pairing (Kannan et al. 2018, Section 4). L = CE(f(x'), y) + lambda · mean
/// (f(x) - f(x'))².
///
/// The default is Table 9's: cross-entropy on attacked images only, an untargeted attack (`pgd` on
/// `ce`), and, as in the official code, the mean squared difference in place of Table 9's norm. The
/// clean pass runs first; gradients flow through both. The official ImageNet code differs in four
/// ways: `clean_ce: true`, `label_smoothing: 0.1`, an attack with `objective: least_likely`, and
/// averaged weights, which are not part of a loss.
#[settings]
pub struct Alp {
    /// Weight of the pairing term. 0.5 in the official example; its released networks used 0.25 and
    /// 0.5.
    #[set(default = 0.5.into(), range = 0.0..)]
    pub lambda: Scheduled,
    /// Whether the cross-entropy covers clean and attacked images, averaged over all 2N; they run
    /// as one batch, so batch norm sees the mixture.
    #[set(default = false)]
    pub clean_ce: bool,
    /// The distance of the pairing term.
    #[set(default = Distance::MeanSquared)]
    pub distance: Distance,
    /// Share of the label's weight that is spread evenly over all classes.
    #[set(default = 0.0, range = 0.0..=1.0)]
    pub label_smoothing: f64,
}

impl Alp {
    /// Cross-entropy with smoothed labels, mean over the images.
    fn cross_entropy(&self, logits: &Tensor, y: &Tensor) -> Tensor {
        terms::smoothed_cross_entropy(logits, y, self.label_smoothing).mean(None::<Kind>)
    }
}

impl Loss for Alp {
    fn passes(&self) -> Vec<Forward> {
        if self.clean_ce { vec![Forward::Together] } else { vec![Forward::Clean, Forward::Adversarial] }
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let (clean, adversarial) = (input.clean()?, input.adversarial()?);
        let mut ce = self.cross_entropy(adversarial, input.y());
        if self.clean_ce {
            ce = (ce + self.cross_entropy(clean, input.y())) / 2.0;
        }
        let difference = clean - adversarial;
        let pairing = match self.distance {
            Distance::MeanSquared => difference.square(),
            Distance::Length => difference.norm_scalaropt_dim(2, [1i64].as_slice(), false),
        };
        let pairing = pairing.mean(None::<Kind>);
        let total = &ce + &pairing * input.now(&self.lambda);
        Ok(LossOutput::new(total).part("ce", &ce).part("pairing", &pairing))
    }
}

register!(dyn Loss, "alp", Alp, "{ lambda: 0.5 }");

#[cfg(test)]
mod tests {
    use super::*;
    use foil::testing::{assert_close, loss_from_yaml, loss_on};

    // By hand: z(x) = (3, 4), z(x') = (0, 0), y = 0. CE(x') = ln 2; squares 9 and 16, mean 12.5;
    // length 5. CE(x) = ln(1 + e); smoothed by s it is (1 - s) · CE + s · mean(-log p), and here
    // -log p = (1.3132617, 0.3132617).
    #[test]
    fn one_image_by_hand() {
        let z = |values: [f64; 2]| Tensor::from_slice2(&[values]);
        let check = |yaml: &str, expected: f64| {
            let output =
                loss_on(loss_from_yaml(yaml).as_ref(), &z([3.0, 4.0]), &z([0.0, 0.0]), &Tensor::from_slice(&[0i64]));
            assert_close(&output.total, &Tensor::from(expected), 1e-12);
        };
        let (ln2, clean) = (2f64.ln(), (1.0 + 1f64.exp()).ln());
        check("{ type: alp }", ln2 + 0.5 * 12.5);
        check("{ type: alp, lambda: 2, distance: length }", ln2 + 2.0 * 5.0);
        check("{ type: alp, clean_ce: true, lambda: 0 }", (ln2 + clean) / 2.0);
        let smoothed = 0.9 * clean + 0.1 * (clean - 0.5);
        check("{ type: alp, clean_ce: true, lambda: 0, label_smoothing: 0.1 }", (ln2 + smoothed) / 2.0);
    }

    #[test]
    fn equal_logits_have_a_gradient_without_nan() {
        let clean = Tensor::from_slice2(&[[1.0, -1.0]]).set_requires_grad(true);
        let loss = loss_from_yaml("{ type: alp, distance: length }");
        let total = loss_on(loss.as_ref(), &clean, &clean.detach(), &Tensor::from_slice(&[1i64])).total;
        let gradient = Tensor::run_backward(&[total], &[&clean], false, false).remove(0);
        assert_close(&gradient, &Tensor::from_slice2(&[[0.0, 0.0]]), 0.0);
    }
}
