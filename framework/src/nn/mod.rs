//! What models are written in: layers with PyTorch's names, shapes and initialisations.
//!
//! A layer holds no tensor, only where its numbers lie in the network's flat buffer. The forward
//! pass is handed a [`Pass`], which says which view of the numbers to use (frozen for attacks,
//! differentiable for the update), whether batch norm uses the batch's statistics, and the random
//! numbers of dropout. So one network is trained, attacked and evaluated from the same code without
//! switching anything back.

pub mod autograd;
mod backward;
pub mod kernels;
mod layers;
mod noise;
mod norm;
mod params;

pub use backward::KEEP_THE_GRAPH;
pub use backward::backward;
pub use kernels::sgd_step;
pub use layers::{
    Conv2d, Linear, dropout, flatten, flatten_backward, global_average, leaky_relu, max_pool2, nearest_resize, relu,
    relu_backward,
};
pub use noise::{Noise, key_of, name_key, permutation};
pub use norm::{BatchNorm2d, ConvInput, NormAddRelu, NormRelu, Shortcut};
pub use params::{
    Builder, Given, GivenBuffer, GivenParameter, Gradients, Group, Mode, NormSettings, Parameters, Pass, Span, Work,
};
