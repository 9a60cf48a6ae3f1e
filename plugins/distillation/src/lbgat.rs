//! LBGAT: a teacher that learns the clean task beside the model.
//!
//! Cui et al., "Learnable Boundary Guided Adversarial Training", ICCV 2021, arXiv:2011.11164, Eq.
//! 4.

use crate::TEACHER;
use foil::prelude::*;

/// LBGAT (Cui et al. 2021, Eq. 4). L = mean (f(x') - t(x))² + CE(t(x), y) + beta · KL(softmax f(x)
/// ‖ softmax f(x')), t being a network that learns too; LBGAT0 has beta 0, LBGAT6 beta 6.
///
/// The squares are averaged over images and classes, the KL over images. Nothing is detached: the
/// squares move the teacher as well. f passes over x' first. Needs `networks: { teacher: { model:
/// …, optimizer: … } }`, in the authors' code a ResNet-18 with the model's optimiser. Attack:
/// TRADES's.
#[settings]
pub struct Lbgat {
    /// Weight of the KL.
    #[set(default = 0.0.into(), range = 0.0..)]
    pub beta: Scheduled,
    /// Share of the label's weight that is spread evenly over all classes in the cross-entropy.
    #[set(default = 0.0, range = 0.0..=1.0)]
    pub label_smoothing: f64,
}

impl Loss for Lbgat {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Adversarial, Forward::Clean, TEACHER]
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let (teacher, attacked) = (input.logits(TEACHER)?, input.adversarial()?);
        let boundary = (attacked - teacher).square().mean(None::<Kind>);
        let natural = terms::smoothed_cross_entropy(teacher, input.y(), self.label_smoothing);
        let natural = natural.mean(None::<Kind>);
        let robust = terms::kl(input.clean()?, attacked).mean(None::<Kind>);
        let total = &boundary + &natural + &robust * input.now(&self.beta);
        Ok(LossOutput::new(total).part("boundary", &boundary).part("teacher", &natural).part("robust", &robust))
    }
}

register!(dyn Loss, "lbgat", Lbgat, "{ beta: 0 }");

#[cfg(test)]
mod tests {
    use crate::testing::{output, teacher};
    use foil::prelude::*;
    use foil::testing::assert_close;

    // F.mse_loss(a, t) + F.cross_entropy(t, y)
    //     + beta * F.kl_div(F.log_softmax(a, 1), F.softmax(z, 1), reduction="batchmean")
    #[test]
    fn equals_pytorch() {
        assert_close(&output("lbgat", &teacher()).total, &Tensor::from(1.6262644604326706), 1e-12);
        let six = output("{ type: lbgat, beta: 6 }", &teacher()).total;
        assert_close(&six, &Tensor::from(3.2429392795762744), 1e-12);
    }

    // By hand: the squares' gradient with respect to the teacher's logits is 2 (t - f(x'))/6; the
    // rest is the cross-entropy's, (softmax t - onehot)/2.
    #[test]
    fn the_teacher_is_pulled_towards_the_model() {
        let t = teacher().set_requires_grad(true);
        let total = output("lbgat", &t).total;
        let found = Tensor::run_backward(&[total], &[&t], false, false).remove(0);
        let one = Tensor::from_slice2(&[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
        let of_ce = (teacher().softmax(-1, None::<Kind>) - one) / 2.0;
        let of_squares = Tensor::from_slice2(&[[2.0 / 3.0, -1.0 / 3.0, 1.0 / 3.0], [0.0, 0.5, 0.0]]);
        assert_close(&found, &(of_ce + of_squares), 1e-12);
    }
}
