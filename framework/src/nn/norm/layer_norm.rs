//! Norms whose statistics belong to one image: the same in train and eval mode, and whatever batch
//! the image is in.

use crate::nn::params::{Builder, Group, Init, ParamId, Pass};
use tch::Tensor;

/// PyTorch's default.
const EPS: f64 = 1e-5;

/// PyTorch's `nn.GroupNorm`: weight 1, bias 0, eps 1e-5. `[N, C, …]`.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: ParamId,
    bias: ParamId,
    groups: i64,
}

impl GroupNorm {
    /// Over `channels` channels in `groups` groups.
    ///
    /// # Panics
    /// When the channels are not a multiple of `groups`; in a model's `build` that is its error.
    #[track_caller]
    pub fn new(nn: &Builder, name: &str, groups: i64, channels: i64) -> Self {
        assert!(groups > 0 && channels % groups == 0, "`{name}` has {channels} channels in {groups} groups");
        let [weight, bias] = affine(nn, name, channels);
        Self { weight, bias, groups }
    }

    /// `xs`: `[N, C, …]`.
    pub fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        xs.group_norm(self.groups, Some(pass.param(self.weight)), Some(pass.param(self.bias)), EPS, true)
    }
}

/// PyTorch's `nn.LayerNorm` over the last dimension: weight 1, bias 0, eps 1e-5. `[…, C]`.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: ParamId,
    bias: ParamId,
    width: i64,
}

impl LayerNorm {
    /// Over vectors of this width.
    #[track_caller]
    pub fn new(nn: &Builder, name: &str, width: i64) -> Self {
        let [weight, bias] = affine(nn, name, width);
        Self { weight, bias, width }
    }

    /// `xs`: `[…, width]`.
    pub fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        xs.layer_norm([self.width], Some(pass.param(self.weight)), Some(pass.param(self.bias)), EPS, true)
    }
}

#[track_caller]
fn affine(nn: &Builder, name: &str, width: i64) -> [ParamId; 2] {
    [("weight", 1.0), ("bias", 0.0)]
        .map(|(tensor, start)| nn.param(name, tensor, &[width], Init::Constant(start), Group::Norm))
}
