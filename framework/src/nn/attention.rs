//! Self-attention.

use super::layers::Linear;
use super::params::{Builder, Group, Init, ParamId, Pass};
use tch::{Kind, Tensor};

/// PyTorch's `nn.MultiheadAttention(batch_first=True)` of a sequence with itself, without masks and
/// dropout: `[N, T, C]` to `[N, T, C]` (Vaswani et al. 2017, section 3.2.2).
#[derive(Debug, Clone)]
pub struct SelfAttention {
    in_weight: ParamId,
    in_bias: ParamId,
    out: Linear,
    heads: i64,
}

impl SelfAttention {
    /// Over vectors of this width, divided among `heads`. PyTorch's names and initialisation:
    /// `in_proj_weight` uniform in ±sqrt(6/(4C)) (Glorot), `out_proj.weight` in ±1/sqrt(C), biases
    /// zero.
    ///
    /// # Panics
    /// When the width is not a multiple of `heads`; in a model's `build` that is its error.
    #[track_caller]
    pub fn new(nn: &Builder, name: &str, width: i64, heads: i64) -> Self {
        assert!(heads > 0 && width % heads == 0, "`{name}` has a width of {width} for {heads} heads");
        let bound = (6.0 / (4 * width) as f64).sqrt();
        let in_weight = nn.param(name, "in_proj_weight", &[3 * width, width], Init::Uniform(bound), Group::Weight);
        let in_bias = nn.param(name, "in_proj_bias", &[3 * width], Init::Constant(0.0), Group::Bias);
        let out = nn.scope(name, |nn| Linear::with_zero_bias(nn, "out_proj", width, width));
        Self { in_weight, in_bias, out, heads }
    }

    /// `xs`: `[N, T, C]`.
    pub fn forward(&self, pass: &Pass, xs: &Tensor) -> Tensor {
        let (n, t, c) = xs.size3().unwrap_or_else(|error| panic!("attention takes [N, T, C]: {error}"));
        let weight = pass.param(self.in_weight);
        let all = xs.linear(weight, Some(pass.param(self.in_bias)));
        pass.count(xs, weight, &all, c);
        // [3, N, heads, T, C/heads]
        let all = all.view([n, t, 3, self.heads, c / self.heads]).permute([2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|i| all.select(0, i));
        let scores = q.matmul(&k.transpose(-2, -1)) / ((c / self.heads) as f64).sqrt();
        pass.count(&q, &k, &scores, c / self.heads);
        let mixed = scores.softmax(-1, None::<Kind>).matmul(&v);
        pass.count(&scores, &v, &mixed, t);
        self.out.forward(pass, &mixed.transpose(1, 2).reshape([n, t, c]))
    }
}
