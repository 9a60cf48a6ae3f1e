//! GradAlign's loss.

use super::{BESIDE, GRADIENT};
use foil::prelude::*;

/// GradAlign (Andriushchenko & Flammarion 2020). L = CE(f(x'), y) + lambda · (1 - mean of
/// cos(∇CE(f(x), y), ∇CE(f(x + u), y))).
///
/// Both gradients are with respect to the images, and the cosine is over all numbers of an image.
/// The first is a constant, the second is differentiated again, by the parameters. Images for which
/// either is 0 are left out of the mean; if all are, the term is 0. Needs the attack `grad_align`.
/// The authors' lambda is 0.02 · exp(255 eps · ln(10)/8): 0.2 for 8/255, 2 for 16/255.
#[settings]
pub struct GradAlign {
    /// Weight of the alignment.
    #[set(default = 0.2.into(), range = 0.0..)]
    pub lambda: Scheduled,
}

/// The images x + u.
const AT: Forward = Forward::Images(BESIDE);

/// For each image the sum of the products, `[N]`.
fn product(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).flatten(1, -1).sum_dim_intlist(1, false, None::<Kind>)
}

impl Loss for GradAlign {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Adversarial, AT]
    }

    fn needs(&self) -> Vec<&'static str> {
        vec![GRADIENT]
    }

    fn input_gradients(&self) -> Vec<Forward> {
        vec![AT]
    }

    fn soft_labels(&self) -> bool {
        true
    }

    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let robust = terms::cross_entropy(input.adversarial()?, input.y()).mean(None::<Kind>);
        let beside = terms::cross_entropy(input.logits(AT)?, input.y());
        let (first, second) = (input.side(GRADIENT)?.detach(), input.input_gradient(AT, &beside)?);
        let squares = [&first, &second].map(|gradient| product(gradient, gradient));
        let counts = squares[0].gt(0.0).logical_and(&squares[1].gt(0.0));
        // A root at 0 has no gradient, also where it is left out.
        let [a, b] = squares.map(|square| square.where_self(&counts, &square.ones_like()).sqrt());
        let counts = counts.to_kind(a.kind());
        let cosine = product(&first, &second) / (a * b);
        let apart = (-cosine + 1.0) * &counts;
        // The mean is over the images of all ranks that count.
        let share = input.mean_over_batch(&counts)?.clamp_min(1e-12);
        let alignment = apart.mean(None::<Kind>) / share;
        let total = &robust + &alignment * input.now(&self.lambda);
        Ok(LossOutput::new(total).part("robust", &robust).part("misalignment", &alignment))
    }
}

register!(dyn Loss, "grad_align", GradAlign, "{ lambda: 0.2 }");
