//! foil's CUDA kernels as functions of tensors.
//!
//! Each function returns `None` where its kernel does not apply; the caller has the plain form in
//! libtorch's operators, which runs everywhere and is the kernel's oracle. (Functions of
//! `pointwise`, `sign_step` and `fold_norms` hold their plain form themselves.) Arithmetic is
//! fp32, whatever kind the images have.
//!
//! | operation | plain form | kernel | when it applies |
//! |---|---|---|---|
//! | scale, shift, ReLU, with a sum too | `pointwise` | pointwise.h | images |
//! | batch norm in train mode | `native_batch_norm` | batch_norm.h | images |
//! | the same by a convolution's sums | `native_batch_norm` | batch_norm.h | after its kernel |
//! | all batch norms as affine maps | `fold_norms` | kernels.cu | eval mode, fp32 |
//! | 3 x 3 convolution with batch norms | `conv2d` | conv_sm90.cu | Hopper, bf16: `conv` |
//! | a down-sampling block's two | `conv2d` twice | conv_down_sm90.cu | Hopper, bf16: `conv` |
//! | 3 x 3 convolution, Winograd's | `conv2d` | winograd.h | fp32: `winograd` |
//! | first convolution | `conv2d` | first_conv.h | without autograd: `first_conv` |
//! | normalisation of images | `(x - mean) / std` | ends.h | without autograd |
//! | global average, linear layer | `mean`, `linear` | ends.h | without autograd, images |
//! | flatten, and back | `flatten` | transpose.h | without autograd, images |
//! | cross-entropy, KL, p(label) | `loss::terms` | terms.h | fp32 logits |
//! | gradients of objectives | `loss::terms` | slopes.h | fp32 logits |
//! | gradients into one tensor | `copy_`, `+=` | pieces.h | at most four passes |
//! | a step of SGD | `foil_optimizers::Sgd` | kernels.cu | fp32 |
//! | a step of an L-inf attack | `sign_step` | kernels.cu | fp32, one step size |
//! | keyed random numbers | `nn::noise` | noise.h | fp32, int64 |
//!
//! Each has its gradient too, where there is one. *Images* are `[N, C, H, W]`, channels-last, in
//! bf16 or fp32, with a multiple of eight channels. All kernels need a GPU of compute capability
//! 8.0 or later and libfoil_cuda.so, and apply nowhere in a pass that is to be differentiated twice
//! (`in_plain_form`). They are in framework/cuda, and [`crate::cuda`]
//! declares them; one more, for a batch's images, is launched by `data::gather`.

mod batch_norm;
mod conv;
mod first_conv;
mod flatten;
mod fold_norms;
mod gather_grads;
mod logit_grads;
mod loss_terms;
mod noise;
mod normalize;
mod partial_sums;
mod plain;
mod pointwise;
mod pooled_linear;
mod sgd;
mod sign_step;
mod support;
#[cfg(test)]
pub(super) mod tests;
mod upstream_norm;
mod winograd;

pub(super) use batch_norm::{BatchFactors, NormGradients, backward as batch_norm_backward};
pub(super) use batch_norm::{backward_from_sums, statistics as batch_statistics, statistics_from_sums};
pub(super) use conv::Convolutions;
pub(super) use first_conv::{backward as first_conv_backward, forward as first_conv};
pub(super) use flatten::{flatten, unflatten};
pub(super) use fold_norms::fold_norms;
pub(super) use gather_grads::{MOST_PASSES, gather_grads};
pub(crate) use logit_grads::{ObjectiveKernel, logit_grad};
pub(crate) use loss_terms::{CROSS_ENTROPY, LABEL_PROBABILITY, kl};
pub(super) use noise::noise;
pub(crate) use normalize::{normalize, normalize_backward};
pub(super) use partial_sums::PartialSums;
pub(crate) use plain::in_plain_form;
pub(super) use pointwise::{add_affine_relu, affine_relu, affine_relu_backward, join_relu, join_relu_backward};
pub(super) use pooled_linear::{backward as pooled_linear_backward, forward as pooled_linear};
pub use sgd::sgd_step;
pub use sign_step::sign_step;
pub(super) use support::supports;
pub(crate) use support::{has_kernels, is_contiguous};
pub(super) use upstream_norm::{GradSumCell, UpstreamNorm};

use tch::Tensor;

/// Numbers by channel `[C]` in the shape of images.
pub(super) fn by_channel(values: &Tensor) -> Tensor {
    values.view([1, -1, 1, 1])
}
