//! Terms of losses (framework/cuda/terms.h): one launch forward and one backward. Where autograd is
//! on, they are nodes of it.

use super::logit_grads::grid;
use super::support::{has_kernels, is_contiguous};
use crate::Result;
use crate::cuda::{Grid, kernels};
use crate::nn::autograd::node;
use crate::raise;
use std::ffi::CStr;
use tch::{Kind, Tensor};

type Forward = fn(Grid, &Tensor, &Tensor, &Tensor, i64, i32) -> Result<()>;
type Backward = fn(Grid, &Tensor, &Tensor, &Tensor, i32, &Tensor, i64, i32) -> Result<()>;

/// A term of logits `[N, K]` and labels `[N]`.
pub(crate) struct LabelTerm {
    title: &'static CStr,
    forward: Forward,
    backward: Backward,
}

pub(crate) const CROSS_ENTROPY: LabelTerm =
    LabelTerm { title: c"cross_entropy", forward: kernels::cross_entropy, backward: kernels::cross_entropy_backward };
pub(crate) const LABEL_PROBABILITY: LabelTerm = LabelTerm {
    title: c"label_probability",
    forward: kernels::label_probability,
    backward: kernels::label_probability_backward,
};

impl LabelTerm {
    /// The term of each image, `[N]`.
    pub fn compute(&self, logits: &Tensor, y: &Tensor) -> Option<Tensor> {
        let (rows, classes) = rows_and_classes(&[logits])?;
        if !is_contiguous(y, Kind::Int64, &[rows], logits.device()) {
            return None;
        }
        let out = Tensor::empty([rows], (Kind::Float, logits.device()));
        (self.forward)(grid(rows), logits, y, &out, rows, classes).ok()?;
        let (backward, held) = (self.backward, [logits, y].map(Tensor::shallow_clone));
        let gradient = move |d_outs: Vec<Option<Tensor>>| {
            let Some((d_out, apart)) = d_outs.into_iter().next().flatten().map(strided) else { return Ok(vec![None]) };
            let [logits, y] = &held;
            let d_logits = logits.empty_like();
            backward(grid(rows), logits, y, &d_out, apart, &d_logits, rows, classes)?;
            Ok(vec![Some(d_logits)])
        };
        with_grad_fn(self.title, &[logits], out, gradient)
    }
}

/// The sum over classes of p (log p - log(q + `floor`)), `[N]`, for p and q of logits `[N, K]`.
pub(crate) fn kl(p_logits: &Tensor, q_logits: &Tensor, floor: f64) -> Option<Tensor> {
    let (rows, classes) = rows_and_classes(&[p_logits, q_logits])?;
    let out = Tensor::empty([rows], (Kind::Float, p_logits.device()));
    let floor = floor as f32;
    kernels::kl(grid(rows), p_logits, q_logits, floor, &out, rows, classes).ok()?;
    let needed = [p_logits, q_logits].map(Tensor::requires_grad);
    let held = [p_logits, q_logits].map(Tensor::shallow_clone);
    let gradients = move |d_outs: Vec<Option<Tensor>>| {
        let Some((d_out, apart)) = d_outs.into_iter().next().flatten().map(strided) else {
            return Ok(vec![None, None]);
        };
        let [p, q] = &held;
        let [dp, dq] = [(p, needed[0]), (q, needed[1])].map(|(logits, needed)| needed.then(|| logits.empty_like()));
        let (to_p, to_q) = (dp.as_ref(), dq.as_ref());
        kernels::kl_backward(grid(rows), p, q, floor, &d_out, apart, to_p, to_q, rows, classes)?;
        Ok(vec![dp, dq])
    };
    with_grad_fn(c"kl", &[p_logits, q_logits], out, gradients)
}

/// Rows and classes of these logits, all of one size, if kernels can read them.
fn rows_and_classes(all: &[&Tensor]) -> Option<(i64, i32)> {
    let (rows, classes) = all[0].size2().ok()?;
    let device = all[0].device();
    let are_logits = |t: &&Tensor| is_contiguous(t, Kind::Float, &[rows, classes], device);
    (has_kernels(device) && rows * classes > 0 && all.iter().all(are_logits))
        .then_some((rows, i32::try_from(classes).ok()?))
}

/// The gradient of a term, `[N]`, with the stride of its numbers: 0 for the gradient of a mean,
/// which is a view of one number.
fn strided(gradient: Tensor) -> (Tensor, i32) {
    if gradient.stride()[0] == 0 { (gradient.narrow(0, 0, 1), 0) } else { (gradient.contiguous(), 1) }
}

/// `out` with its gradients, if autograd is on.
fn with_grad_fn(
    title: &'static CStr,
    inputs: &[&Tensor],
    out: Tensor,
    gradients: impl Fn(Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> + Send + 'static,
) -> Option<Tensor> {
    if inputs.iter().any(|input| input.requires_grad()) {
        return raise(node(title, inputs, &[&out], gradients)).pop();
    }
    Some(out)
}
