//! Terms of losses by CUDA kernels (framework/cuda/terms.h), a launch each way, with their gradients as nodes of autograd: `None` where they do not apply.

#![allow(unsafe_code)]

use super::kernels::{is_dense, is_new_enough};
use super::slopes::blocks;
use crate::engine::cuda::{Argument, Kernel, arguments};
use crate::engine::raise;
use crate::nn::autograd::node;
use crate::{Error, Result};
use std::ffi::CStr;
use tch::{Kind, Tensor};

/// One that is of logits `[N, K]` and labels `[N]`.
pub(crate) struct OfLabel {
    title: &'static CStr,
    forward: &'static str,
    backward: &'static str,
}

pub(crate) const CROSS_ENTROPY: OfLabel =
    OfLabel { title: c"cross_entropy", forward: "cross_entropy", backward: "cross_entropy_backward" };
pub(crate) const LABEL_PROBABILITY: OfLabel =
    OfLabel { title: c"label_probability", forward: "label_probability", backward: "label_probability_backward" };

impl OfLabel {
    /// `[N]`.
    pub fn of(&self, logits: &Tensor, y: &Tensor) -> Option<Tensor> {
        let (rows, classes) = whole(&[logits])?;
        if !is_dense(y, Kind::Int64, &[rows], logits.device()) {
            return None;
        }
        let out = Tensor::empty([rows], (Kind::Float, logits.device()));
        // # Safety
        // The declaration is (float*, long*, float*, long, int); `whole` and `is_dense` have checked both.
        unsafe { launch(self.forward, arguments![logits, y, &out].to_vec(), rows, classes) }.ok()?;
        let (backward, held) = (self.backward, [logits, y].map(Tensor::shallow_clone));
        let gradient = move |found: Vec<Option<Tensor>>| {
            let Some((by, apart)) = found.into_iter().next().flatten().map(numbers) else { return Ok(vec![None]) };
            let [logits, y] = &held;
            let d_logits = logits.empty_like();
            // # Safety
            // The declaration is (float*, long*, float*, int, float*, long, int); what is held was checked, and `numbers` says how `by` lies.
            unsafe { launch(backward, arguments![logits, y, &by, apart, &d_logits].to_vec(), rows, classes) }?;
            Ok(vec![Some(d_logits)])
        };
        watched(self.title, &[logits], out, gradient)
    }
}

/// The sum over classes of p (log p - log(q + `floor`)), `[N]`, for p and q of logits `[N, K]`.
pub(crate) fn kl(p_logits: &Tensor, q_logits: &Tensor, floor: f64) -> Option<Tensor> {
    let (rows, classes) = whole(&[p_logits, q_logits])?;
    let out = Tensor::empty([rows], (Kind::Float, p_logits.device()));
    let floor = floor as f32;
    // # Safety
    // The declaration is (float*, float*, float, float*, long, int); `whole` has checked both.
    unsafe { launch("kl", arguments![p_logits, q_logits, floor, &out].to_vec(), rows, classes) }.ok()?;
    let needed = [p_logits, q_logits].map(Tensor::requires_grad);
    let held = [p_logits, q_logits].map(Tensor::shallow_clone);
    let gradients = move |found: Vec<Option<Tensor>>| {
        let Some((by, apart)) = found.into_iter().next().flatten().map(numbers) else { return Ok(vec![None, None]) };
        let [p, q] = &held;
        let of = [(p, needed[0]), (q, needed[1])].map(|(logits, needed)| needed.then(|| logits.empty_like()));
        let given = arguments![p, q, floor, &by, apart, of[0].as_ref(), of[1].as_ref()].to_vec();
        // # Safety
        // The declaration is (float*, float*, float, float*, int, float* or null, float* or null, long, int), as above.
        unsafe { launch("kl_backward", given, rows, classes) }?;
        Ok(of.into())
    };
    watched(c"kl", &[p_logits, q_logits], out, gradients)
}

/// How many rows and classes these logits all have, if kernels can read them.
fn whole(all: &[&Tensor]) -> Option<(i64, i64)> {
    let (rows, classes) = all[0].size2().ok()?;
    let device = all[0].device();
    let fit = |t: &&Tensor| is_dense(t, Kind::Float, &[rows, classes], device);
    (is_new_enough(device) && rows * classes > 0 && all.iter().all(fit)).then_some((rows, classes))
}

/// The gradient of a term `[N]`, and how far its numbers are apart: that of a mean is one number.
fn numbers(gradient: Tensor) -> (Tensor, i32) {
    let apart = gradient.stride()[0];
    if apart == 0 { (gradient, 0) } else { (gradient.contiguous(), 1) }
}

/// # Safety
/// `given` are the kernel's arguments but for the last two, rows and classes.
unsafe fn launch(name: &'static str, mut given: Vec<Argument>, rows: i64, classes: i64) -> Result<()> {
    let classes = i32::try_from(classes).map_err(Error::of)?;
    given.extend(arguments![rows, classes]);
    // # Safety
    // By this function's contract.
    unsafe { Kernel::named(name)?.launch(blocks(rows), &given) }
}

/// `out` with its gradients, if autograd watches.
fn watched(
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
