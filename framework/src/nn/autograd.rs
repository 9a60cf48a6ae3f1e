//! Operations with a backward pass of their own, for autograd (framework/shim/node.cpp).

#![allow(unsafe_code)]

use crate::guard;
use crate::shim::{At, Message, at, check};
use crate::{Error, Result};
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use tch::Tensor;

type Backward = dyn Fn(Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> + Send;

unsafe extern "C" {
    fn foil_node(
        out: *mut *mut At,
        outputs: *const *const At,
        n_outputs: i64,
        inputs: *const *const At,
        n_inputs: i64,
        title: *const c_char,
        closure: *mut c_void,
        backward: unsafe extern "C" fn(*mut c_void, *const *mut At, i64, *mut *mut At, i64) -> Message,
        drop: unsafe extern "C" fn(*mut c_void),
    ) -> Message;
}

/// Tells autograd how `outputs`, of floating point and computed without it, depend on `inputs`:
/// `backward` makes the gradients of the inputs from those of the outputs, in order; `None` is
/// zero. Returned are the same numbers, differentiable if autograd is on and an input is.
///
/// `backward` runs without autograd: there is no second derivative. It runs for each backward pass,
/// one at a time, and is dropped with the graph. On CUDA libtorch runs it on a thread of its own,
/// on the stream that was current here. An error or a panic of it is an error of the backward pass.
/// It may hold inputs and outputs; a backward pass after one of them was changed in place fails.
/// `title` is how a profile names it.
///
/// # Errors
/// When an output is not of floating point.
pub fn node(
    title: &'static CStr,
    inputs: &[&Tensor],
    outputs: &[&Tensor],
    backward: impl Fn(Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> + Send + 'static,
) -> Result<Vec<Tensor>> {
    if outputs.iter().any(|output| !output.is_floating_point()) {
        return Err(Error::new("only numbers of floating point have gradients"));
    }
    let closure: Box<Box<Backward>> = Box::new(Box::new(backward));
    let pointers = |tensors: &[&Tensor]| tensors.iter().map(|tensor| at(tensor)).collect::<Vec<_>>();
    let (from, to) = (pointers(inputs), pointers(outputs));
    let mut out = vec![null_mut(); to.len()];
    // SAFETY: The borrows of all tensors outlast the call, and there is room for as many outputs as
    // there are. The closure belongs to the node, which gives its pointer to the two functions
    // below, to the second once and last; it lets one thread at a time do so, and the closure is
    // `Send`.
    check(unsafe {
        foil_node(
            out.as_mut_ptr(),
            to.as_ptr(),
            to.len() as i64,
            from.as_ptr(),
            from.len() as i64,
            title.as_ptr(),
            Box::into_raw(closure).cast(),
            run,
            discard,
        )
    })?;
    // SAFETY: Without a message the shim has written pointers to new at::Tensors that belong to us;
    // tch frees them.
    Ok(out.into_iter().map(|tensor| unsafe { Tensor::from_ptr(tensor.cast()) }).collect())
}

/// # Safety
/// `closure` is that of [`node`]; `given` points to `outputs` tensors or nulls, which this function
/// takes over, and `found` to room for `inputs`, all null.
unsafe extern "C" fn run(
    closure: *mut c_void,
    given: *const *mut At,
    outputs: i64,
    found: *mut *mut At,
    inputs: i64,
) -> Message {
    // SAFETY: By this function's contract.
    let (backward, given, found) = unsafe {
        (
            &*closure.cast::<Box<Backward>>(),
            std::slice::from_raw_parts(given, outputs.unsigned_abs() as usize),
            std::slice::from_raw_parts_mut(found, inputs.unsigned_abs() as usize),
        )
    };
    // SAFETY: As above: each tensor is taken over once.
    let owned = |tensor: &*mut At| (!tensor.is_null()).then(|| unsafe { Tensor::from_ptr(tensor.cast()) });
    let given: Vec<Option<Tensor>> = given.iter().map(owned).collect();
    let result = guard(|| {
        let gradients = backward(given)?;
        if gradients.len() != found.len() {
            return Err(Error::new(format!("{} gradients for {} inputs", gradients.len(), found.len())));
        }
        Ok(gradients)
    });
    match result {
        Ok(gradients) => {
            for (place, gradient) in found.iter_mut().zip(gradients) {
                // The shim takes it over.
                *place = gradient.map_or(null_mut(), |gradient| ManuallyDrop::new(gradient).as_mut_ptr().cast());
            }
            Message::NONE
        }
        Err(error) => Message::of(&CString::new(error.message().replace('\0', " ")).unwrap_or_default()),
    }
}

/// # Safety
/// `closure` is that of [`node`], and nothing uses it afterwards.
unsafe extern "C" fn discard(closure: *mut c_void) {
    // SAFETY: By this function's contract it is the box that `node` gave away.
    let closure = unsafe { Box::from_raw(closure.cast::<Box<Backward>>()) };
    // The hook has reported a panic in what it holds; no one else can be told.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(closure)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;
    use std::sync::Arc;
    use tch::{Device, Kind};

    fn leaf(seed: u64) -> Tensor {
        let noise = crate::nn::Noise::seeded(&[seed], 4, Device::Cpu);
        noise.normal("x", &[3], Kind::Double).set_requires_grad(true)
    }

    /// x · y and x + y; the gradient of each input tells that of each output.
    fn product_and_sum(x: &Tensor, y: &Tensor) -> [Tensor; 2] {
        let (product, sum) = tch::no_grad(|| (x * y, x + y));
        let held = [x.detach(), y.detach()];
        let backward = move |gradients: Vec<Option<Tensor>>| {
            let [x, y] = &held;
            let zero = x.zeros_like();
            let [product, sum] = [0, 1].map(|i| gradients[i].as_ref().unwrap_or(&zero));
            Ok(vec![Some(product * y + sum), Some(product * x + sum)])
        };
        node(c"test", &[x, y], &[&product, &sum], backward).unwrap().try_into().unwrap()
    }

    fn backward(value: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(Tensor::f_run_backward(&[value.sum(Kind::Double)], inputs, false, false)?)
    }

    /// A function of `x` whose backward pass is `work`.
    fn doubled(
        x: &Tensor,
        work: impl Fn(Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> + Send + 'static,
    ) -> Tensor {
        let out = tch::no_grad(|| x * 2.0);
        node(c"test", &[x], &[&out], work).unwrap().remove(0)
    }

    #[test]
    fn gradients_are_autograds() {
        let [x, y] = [leaf(1), leaf(2)];
        // Both outputs, one of them, and the node twice, in a row and side by side.
        type Function = fn(&Tensor, &Tensor) -> [Tensor; 2];
        let values: [&dyn Fn(Function) -> Tensor; 4] = [
            &|f| f(&x, &y).iter().map(|out| out * out.sin()).sum(),
            &|f| f(&x, &y)[1].exp(),
            &|f| f(&f(&x, &y)[0], &x)[0].sin(),
            &|f| &f(&x, &y)[0] * &f(&y, &y)[1],
        ];
        for value in values {
            let [found, expected] = [value(product_and_sum), value(|x, y| [x * y, x + y])]
                .map(|value| backward(&value, &[&x, &y]).unwrap());
            for (found, expected) in found.iter().zip(&expected) {
                assert_close(found, expected, 1e-12);
            }
        }
    }

    #[test]
    fn an_input_may_need_no_gradient() {
        let [x, y] = [leaf(1), leaf(2).detach()];
        let [product, _] = product_and_sum(&x, &y);
        assert_close(&backward(&product, &[&x]).unwrap()[0], &y, 1e-12);
        for outputs in [product_and_sum(&y, &y), tch::no_grad(|| product_and_sum(&x, &y))] {
            assert!(outputs.iter().all(|out| !out.requires_grad()));
        }
    }

    #[test]
    fn what_goes_wrong_is_an_error_of_the_backward_pass() {
        let x = leaf(1);
        let message = |value: &Tensor| backward(value, &[&x]).unwrap_err().message().to_string();
        assert_eq!(message(&doubled(&x, |_| Err(Error::new("no")))), "no");
        assert!(message(&doubled(&x, |_| panic!("oh"))).starts_with("oh (at "));
        assert!(
            message(&doubled(&x, |_| Ok(vec![Some(Tensor::zeros([7], (Kind::Double, Device::Cpu)))])))
                .contains("shape")
        );
        assert_eq!(message(&doubled(&x, |_| Ok(vec![]))), "0 gradients for 1 inputs");
        let mut out = doubled(&x, Ok);
        let value = &out * 1.0;
        tch::no_grad(|| drop(out.g_add_scalar_(1.0)));
        assert!(message(&value).contains("changed in place"));
        let value = doubled(&x, Ok).sum(Kind::Double);
        let twice = Tensor::f_run_backward(&[&value], &[&x], true, true).unwrap_err();
        assert!(twice.to_string().contains("no second derivative"));
        assert!(node(c"test", &[&x], &[&x.to_kind(Kind::Int64)], Ok).is_err());
    }

    #[test]
    fn a_backward_pass_is_dropped_with_its_graph() {
        let (x, held) = (leaf(1), Arc::new(()));
        let watched = || {
            let (held, out) = (held.clone(), tch::no_grad(|| &x * 2.0));
            // It may hold its own output.
            let saved = out.shallow_clone();
            let work = move |gradients: Vec<Option<Tensor>>| {
                let _ = (&held, &saved);
                Ok(gradients.into_iter().map(|gradient| gradient.map(|gradient| gradient * 2.0)).collect())
            };
            node(c"test", &[&x], &[&out], work).unwrap().remove(0)
        };
        // Never run, not differentiable, run while the output lives on, and run twice.
        drop(watched());
        assert_eq!(Arc::strong_count(&held), 1);
        drop(tch::no_grad(watched));
        assert_eq!(Arc::strong_count(&held), 1);
        let out = watched();
        assert_eq!(Arc::strong_count(&held), 2);
        backward(&out, &[&x]).unwrap();
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(backward(&out, &[&x]).is_err());
        let value = watched().sum(Kind::Double);
        let [first, second] = [true, false].map(|keep| Tensor::run_backward(&[&value], &[&x], keep, false).remove(0));
        assert_eq!((first, Arc::strong_count(&held)), (second, 1));
    }
}
