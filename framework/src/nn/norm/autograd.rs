//! Batch norm and ReLU where autograd is on: nodes of it where the kernels apply, else its own
//! operators.

use super::norm_relu::{NormRelu, Saved};
use crate::nn::autograd::node;
use crate::nn::kernels::{GradSumCell, NormGradients, UpstreamNorm, supports};
use crate::nn::{BatchNorm2d, Mode, Pass, Shortcut, relu};
use crate::raise;
use crate::shim::channels_last;
use tch::Tensor;

impl BatchNorm2d {
    /// Whether a gradient through this pass is autograd's, as it is across ranks.
    pub(super) fn needs_autograd(&self, pass: &Pass, inputs: &[&Tensor]) -> bool {
        let learned = self.weight_and_bias(pass);
        inputs.iter().chain(&learned).any(|tensor| tensor.requires_grad()) || is_across_ranks(pass)
    }

    /// `xs` (+ `ys`) and its activation.
    pub(super) fn add_norm_relu_with_grad_fn(
        &self,
        pass: &Pass,
        xs: &Tensor,
        ys: Option<&Tensor>,
    ) -> (Tensor, NormRelu) {
        let images: Vec<&Tensor> = [Some(xs), ys].into_iter().flatten().collect();
        if !supports_nodes(pass, &images) {
            let sum = ys.map_or_else(|| xs.shallow_clone(), |ys| xs + ys);
            let out = relu(self.forward(pass, &sum));
            return (sum, NormRelu { out, saved: Saved::Autograd(None) });
        }
        let (sum, activated) = tch::no_grad(|| self.add_norm_relu_without_autograd(pass, xs, ys));
        let (with_grad, activated) = self.with_grad_fn(pass, &images, ys.map(|_| &sum), activated);
        (with_grad.unwrap_or(sum), activated)
    }

    /// The activation of the sum of `images`, and that `sum` if it is asked for, as functions of
    /// them.
    pub(super) fn with_grad_fn(
        &self,
        pass: &Pass,
        images: &[&Tensor],
        sum: Option<&Tensor>,
        activated: NormRelu,
    ) -> (Option<Tensor>, NormRelu) {
        let (out, learned) = (activated.out.shallow_clone(), self.weight_and_bias(pass));
        let (inputs, outputs) = ([images, &learned].concat(), sum.into_iter().chain([&out]).collect::<Vec<_>>());
        let (images, learns) = (images.len(), learned[0].requires_grad());
        let sums = GradSumCell::default();
        let upstream = match &activated.saved {
            Saved::Kernel(xs, _, factors) => Some(UpstreamNorm::new(xs, factors, &sums)),
            _ => None,
        };
        let backward = move |mut gradients: Vec<Option<Tensor>>| {
            let (d_out, d_sum) = (gradients.pop().flatten(), gradients.pop().flatten());
            let [d_image, d_weight, d_bias] = match d_out {
                Some(d_out) => {
                    let (sums, d_sum) = (sums.take(&d_out), d_sum.as_ref().map(channels_last).transpose()?);
                    separate(activated.backward(d_out, sums.as_ref(), d_sum.as_ref(), learns))
                }
                None => [d_sum, None, None],
            };
            let d_images = (0..images).map(|_| d_image.as_ref().map(Tensor::shallow_clone));
            Ok(d_images.chain([d_weight, d_bias]).collect())
        };
        let mut with_grad = raise(node(c"batch_norm_relu", &inputs, &outputs, backward));
        let out = with_grad.pop().unwrap_or(out);
        (with_grad.pop(), NormRelu { out, saved: Saved::Autograd(upstream) })
    }

    /// max(batch norm(`xs`) + `shortcut`, 0).
    pub(super) fn norm_add_relu_with_grad_fn(&self, pass: &Pass, xs: &Tensor, shortcut: Shortcut) -> Tensor {
        let (ys, projection) = match shortcut {
            Shortcut::Identity(ys) => (ys, None),
            Shortcut::Projection(bn, ys) => (ys, Some(bn)),
        };
        if !supports_nodes(pass, &[xs, ys]) {
            let ys = projection.map_or_else(|| ys.shallow_clone(), |bn| bn.forward(pass, ys));
            return relu(self.forward(pass, xs) + ys);
        }
        let joined = tch::no_grad(|| self.norm_add_relu_without_autograd(pass, xs, shortcut));
        let (out, [weight, bias]) = (joined.out.shallow_clone(), self.weight_and_bias(pass));
        let mut inputs = vec![xs, weight, bias, ys];
        inputs.extend(projection.iter().flat_map(|bn| bn.weight_and_bias(pass)));
        let (wanted, learns) = (inputs.len(), weight.requires_grad());
        let backward = move |mut gradients: Vec<Option<Tensor>>| {
            let Some(d_out) = gradients.pop().flatten() else { return Ok((0..wanted).map(|_| None).collect()) };
            let found = joined.backward(&d_out, None, learns).map(separate);
            Ok(found.into_iter().flatten().take(wanted).collect())
        };
        raise(node(c"batch_norm_join", &inputs, &[&out], backward)).pop().unwrap_or(out)
    }
}

/// Whether the kernels can take over from autograd's own operators.
pub(super) fn supports_nodes(pass: &Pass, images: &[&Tensor]) -> bool {
    pass.mode() == Mode::Train && pass.selected().is_none() && !is_across_ranks(pass) && supports(images)
}

/// Whether batch norm sees the images of all ranks.
fn is_across_ranks(pass: &Pass) -> bool {
    pass.mode() == Mode::Train && pass.sync().is_some()
}

/// The gradients of image, weight and bias.
fn separate((image, learned): NormGradients) -> [Option<Tensor>; 3] {
    let [weight, bias] = learned.map_or([None, None], |learned| learned.map(Some));
    [Some(image), weight, bias]
}
