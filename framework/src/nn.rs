//! What models are written in: layers with PyTorch's names, shapes and initialisations.
//!
//! A layer holds no tensor, only where its numbers lie in the network's flat buffer. The forward
//! pass is handed a [`Pass`], which says which view of the numbers to use (frozen for attacks,
//! differentiable for the update), whether batch norm uses the batch's statistics, and the random
//! numbers of dropout. So one network is trained, attacked and evaluated from the same code without
//! switching anything back.

mod attention;
pub mod autograd;
mod backward;
mod grouped_conv;
pub mod kernels;
mod layers;
mod noise;
mod norm;
mod own_parameter;
mod params;

pub use attention::SelfAttention;
pub use backward::{KEEP_THE_GRAPH, backward, differentiable_gradient};
pub use grouped_conv::{ConvShape, GroupedConv2d};
pub use kernels::sgd_step;
pub use layers::{
    Conv2d, Linear, adaptive_avg_pool, avg_pool, dropout, flatten, flatten_backward, gelu, global_average, leaky_relu,
    max_pool2, nearest_resize, relu, relu_backward,
};
pub use noise::{Noise, key_of, name_key, permutation};
pub use norm::{BatchNorm2d, ConvInput, GroupNorm, LayerNorm, NormAddRelu, NormRelu, Shortcut};
pub use own_parameter::Start;
pub(crate) use params::Features;
pub use params::{
    Builder, Given, GivenBuffer, GivenParameter, Gradients, Group, Mode, NormSettings, Parameters, Pass, Span, Work,
};
