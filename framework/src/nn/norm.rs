//! Batch norm.

use super::params::{BufferId, Builder, EPS, Group, Init, Mode, NormId, ParamId, Pass};
use tch::Tensor;

/// PyTorch's `nn.BatchNorm2d`: weight 1, bias 0, eps 1e-5, momentum 0.1, unbiased running variance.
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
    pub fn new(nn: &Builder, name: &str, channels: i64) -> Self {
        let weight = nn.param(name, "weight", &[channels], Init::Constant(1.0), Group::Norm);
        let bias = nn.param(name, "bias", &[channels], Init::Constant(0.0), Group::Norm);
        let mean = nn.buffer(name, "running_mean", channels, 0.0);
        let var = nn.buffer(name, "running_var", channels, 1.0);
        Self { weight, bias, mean, var, id: nn.norm(name, [weight, bias], [mean, var]) }
    }

    /// `xs`: `[N, C, H, W]`. In train mode the batch's statistics are used and move the running ones; with `train.batch_norm: sync`
    /// the batch is that of all ranks.
    pub fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        if let (Some(world), Mode::Train) = (pass.sync(), pass.mode()) {
            let affine = [pass.param(self.weight), pass.param(self.bias)];
            let running = [pass.buffer(self.mean), pass.buffer(self.var)];
            // As tch's operators do: the engine turns the panic into an error.
            return crate::distributed::sync_batch_norm(world, xs, affine, running, pass.momentum(), EPS)
                .unwrap_or_else(|error| panic!("{}", error.message()));
        }
        xs.batch_norm(
            Some(pass.param(self.weight)),
            Some(pass.param(self.bias)),
            Some(pass.buffer(self.mean)),
            Some(pass.buffer(self.var)),
            pass.mode() == Mode::Train,
            pass.momentum(),
            EPS,
            true,
        )
    }
}
