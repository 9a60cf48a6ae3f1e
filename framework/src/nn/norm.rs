//! Batch norm, by itself and as one pass over memory with what is around it.

mod autograd;
mod conv_norm_relu;
mod layer_norm;
mod norm_add_relu;
mod norm_relu;

pub use conv_norm_relu::ConvInput;
pub use layer_norm::{GroupNorm, LayerNorm};
pub use norm_add_relu::{NormAddRelu, Shortcut};
pub use norm_relu::NormRelu;

use super::params::{BufferId, Builder, Group, Init, Mode, NormId, ParamId, Pass};
use tch::Tensor;

/// PyTorch's `nn.BatchNorm2d`: weight 1, bias 0, unbiased running variance. Momentum and eps are
/// the network's.
#[derive(Debug, Clone)]
pub struct BatchNorm2d {
    pub(super) weight: ParamId,
    pub(super) bias: ParamId,
    pub(super) mean: BufferId,
    pub(super) var: BufferId,
    pub(super) id: NormId,
}

impl BatchNorm2d {
    /// Over `channels` channels.
    #[track_caller]
    pub fn new(nn: &Builder, name: &str, channels: i64) -> Self {
        let weight = nn.param(name, "weight", &[channels], Init::Constant(1.0), Group::Norm);
        let bias = nn.param(name, "bias", &[channels], Init::Constant(0.0), Group::Norm);
        let mean = nn.buffer(name, "running_mean", channels, 0.0);
        let var = nn.buffer(name, "running_var", channels, 1.0);
        Self { weight, bias, mean, var, id: nn.norm(name, [weight, bias], [mean, var]) }
    }

    /// `xs`: `[N, C, H, W]`. In train mode the batch's statistics, or those of the images in
    /// [`Pass::selected`], are used and move the running ones; with `train.batch_norm: sync` the
    /// batch is that of all ranks.
    pub fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        if let (Some(world), Mode::Train) = (pass.sync(), pass.mode()) {
            let affine = [pass.param(self.weight), pass.param(self.bias)];
            let running = [pass.buffer(self.mean), pass.buffer(self.var)];
            // As tch's operators do: the engine turns the panic into an error.
            return crate::distributed::sync_batch_norm(world, xs, affine, running, pass.rates(), pass.selected())
                .unwrap_or_else(|error| panic!("{}", error.message()));
        }
        if let Some(selected) = pass.selected() {
            return self.of_selected(pass, xs, selected);
        }
        let [momentum, eps] = pass.rates();
        xs.batch_norm(
            Some(pass.param(self.weight)),
            Some(pass.param(self.bias)),
            Some(pass.buffer(self.mean)),
            Some(pass.buffer(self.var)),
            pass.mode() == Mode::Train,
            momentum,
            eps,
            true,
        )
    }

    /// Train mode with the statistics of the `selected` images, `[N]` booleans, for all: numbers
    /// and gradients of the selected are those of a pass over them alone. Shapes are the batch's,
    /// and nothing is read by the host. Where no image is selected the running statistics are used,
    /// and stay as they are.
    pub(super) fn of_selected(&self, pass: &Pass, xs: &Tensor, selected: &Tensor) -> Tensor {
        let [weight, bias] = [self.weight, self.bias].map(|id| pass.param(id));
        let running = [self.mean, self.var].map(|id| pass.buffer(id));
        let [momentum, eps] = pass.rates();
        // Sums of bf16 are taken in the statistics' kind.
        let kind = running[0].kind();
        let wide = xs.to_kind(kind);
        let by_channel = |values: &Tensor| values.view([1, -1, 1, 1]);
        let left_out = selected.logical_not().view([-1, 1, 1, 1]);
        let sum =
            |values: &Tensor| values.masked_fill(&left_out, 0.0).sum_dim_intlist([0i64, 2, 3].as_slice(), false, kind);
        let pixels = xs.size()[2..].iter().product::<i64>() as f64;
        let (any, count) = (selected.any(), (selected.sum(kind) * pixels).clamp_min(1.0));

        let mean = (sum(&wide) / &count).where_self(&any, running[0]);
        let centred = wide - by_channel(&mean);
        let var = (sum(&centred.square()) / &count).where_self(&any, running[1]);
        tch::no_grad(|| {
            // PyTorch keeps the unbiased variance.
            let unbiased = &var * (&count / (&count - 1.0).clamp_min(1.0));
            let rate = any.to_kind(kind) * momentum;
            for (running, found) in running.into_iter().zip([&mean, &unbiased]) {
                let moved: Tensor = running * (1.0 - &rate) + found * &rate;
                // As libtorch's own kernels do it: an earlier pass that waits for its gradient does
                // not notice the change.
                running.data().copy_(&moved.where_self(&any, running));
            }
        });
        let scale = (var + eps).rsqrt() * weight.to_kind(kind);
        (centred * by_channel(&scale) + by_channel(&bias.to_kind(kind))).to_kind(xs.kind())
    }
}

#[cfg(test)]
mod tests;
