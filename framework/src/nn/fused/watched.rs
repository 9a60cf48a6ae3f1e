//! Passes that autograd watches: nodes of it where the kernels apply, else its own operations.

use super::entering::{Front, Sums};
use super::{Activated, Gradients, Norm, kernels};
use crate::engine::raise;
use crate::nn::autograd::node;
use crate::nn::{BatchNorm2d, Mode, Pass, relu};
use crate::shim::channels_last;
use tch::Tensor;

impl BatchNorm2d {
    /// Whether a gradient through this pass is autograd's, as it is across ranks.
    pub(super) fn is_watched(&self, pass: &Pass, images: &[&Tensor]) -> bool {
        let learned = self.learned(pass);
        images.iter().chain(&learned).any(|tensor| tensor.requires_grad()) || is_across_ranks(pass)
    }

    /// `xs` (+ `ys`) and its activation.
    pub(super) fn watched(&self, pass: &Pass, xs: &Tensor, ys: Option<&Tensor>) -> (Tensor, Activated) {
        let images: Vec<&Tensor> = [Some(xs), ys].into_iter().flatten().collect();
        if !suits(pass, &images) {
            let sum = ys.map_or_else(|| xs.shallow_clone(), |ys| xs + ys);
            let out = relu(self.forward(pass, &sum));
            return (sum, Activated { out, norm: Norm::Watched(None) });
        }
        let (sum, activated) = tch::no_grad(|| self.unwatched(pass, xs, ys));
        let (made, activated) = self.node(pass, &images, ys.map(|_| &sum), activated);
        (made.unwrap_or(sum), activated)
    }

    /// The activation of the sum of `images`, and that `sum` if it is asked for, as functions of them.
    pub(super) fn node(
        &self,
        pass: &Pass,
        images: &[&Tensor],
        sum: Option<&Tensor>,
        activated: Activated,
    ) -> (Option<Tensor>, Activated) {
        let (out, learned) = (activated.out.shallow_clone(), self.learned(pass));
        let (inputs, outputs) = ([images, &learned].concat(), sum.into_iter().chain([&out]).collect::<Vec<_>>());
        let (images, learns) = (images.len(), learned[0].requires_grad());
        let sums = Sums::default();
        let front = match &activated.norm {
            Norm::Reduced(xs, _, factors) => Some(Front::new(xs, factors, &sums)),
            _ => None,
        };
        let backward = move |mut gradients: Vec<Option<Tensor>>| {
            let (d_out, d_sum) = (gradients.pop().flatten(), gradients.pop().flatten());
            let [d_image, d_weight, d_bias] = match d_out {
                Some(d_out) => {
                    let (groups, d_sum) = (sums.take(&d_out), d_sum.as_ref().map(channels_last).transpose()?);
                    each(activated.backward(d_out, groups.as_ref(), d_sum.as_ref(), learns))
                }
                None => [d_sum, None, None],
            };
            let d_images = (0..images).map(|_| d_image.as_ref().map(Tensor::shallow_clone));
            Ok(d_images.chain([d_weight, d_bias]).collect())
        };
        let mut made = raise(node(c"batch_norm_relu", &inputs, &outputs, backward));
        let out = made.pop().unwrap_or(out);
        (made.pop(), Activated { out, norm: Norm::Watched(front) })
    }

    /// max(batch norm(`xs`) + `ys` or its batch norm, 0).
    pub(super) fn joined_watched(&self, pass: &Pass, xs: &Tensor, ys: &Tensor, other: Option<&BatchNorm2d>) -> Tensor {
        if !suits(pass, &[xs, ys]) {
            let ys = other.map_or_else(|| ys.shallow_clone(), |bn| bn.forward(pass, ys));
            return relu(self.forward(pass, xs) + ys);
        }
        let joined = tch::no_grad(|| self.joined(pass, xs, ys, other));
        let (out, [weight, bias]) = (joined.out.shallow_clone(), self.learned(pass));
        let mut inputs = vec![xs, weight, bias, ys];
        inputs.extend(other.iter().flat_map(|bn| bn.learned(pass)));
        let (wanted, learns) = (inputs.len(), weight.requires_grad());
        let backward = move |mut gradients: Vec<Option<Tensor>>| {
            let Some(d_out) = gradients.pop().flatten() else { return Ok((0..wanted).map(|_| None).collect()) };
            let found = joined.backward(&d_out, None, learns).map(each);
            Ok(found.into_iter().flatten().take(wanted).collect())
        };
        raise(node(c"batch_norm_join", &inputs, &[&out], backward)).pop().unwrap_or(out)
    }
}

/// Whether the kernels can take over.
pub(super) fn suits(pass: &Pass, images: &[&Tensor]) -> bool {
    pass.mode() == Mode::Train && pass.selected().is_none() && !is_across_ranks(pass) && kernels::suits(images)
}

/// Whether batch norm sees the images of all ranks.
fn is_across_ranks(pass: &Pass) -> bool {
    pass.mode() == Mode::Train && pass.sync().is_some()
}

/// The gradients of image, weight and bias.
fn each((image, learned): Gradients) -> [Option<Tensor>; 3] {
    let [weight, bias] = learned.map_or([None, None], |learned| learned.map(Some));
    [Some(image), weight, bias]
}
