//! What tch does not bind, from the C++ shim in `framework/shim`: memory formats, input gradients of single operators, TF32's switches.
//!
//! Each function here is a safe form of one there; a C++ exception comes back as an error with its message.

#![allow(unsafe_code)]

use crate::error::torch_message;
use crate::{Error, Result};
use std::ffi::{CStr, c_char, c_void};
use tch::Tensor;

/// What tch calls `C_tensor`: an `at::Tensor`.
type At = c_void;
/// Null, or a message to give back to `foil_free`.
type Message = *mut c_char;

unsafe extern "C" {
    fn foil_free(message: Message);
    fn foil_channels_last(out: *mut *mut At, input: *const At) -> Message;
    fn foil_is_channels_last(out: *mut bool, input: *const At) -> Message;
    fn foil_conv_input_gradient(
        out: *mut *mut At,
        gradient: *const At,
        input: *const At,
        weight: *const At,
        stride: i64,
        padding: i64,
    ) -> Message;
    fn foil_batch_norm_input_gradient(
        out: *mut *mut At,
        gradient: *const At,
        input: *const At,
        weight: *const At,
        mean: *const At,
        inverse_std: *const At,
        eps: f64,
    ) -> Message;
    fn foil_allow_tf32(allow: bool) -> Message;
    fn foil_deterministic(deterministic: bool) -> Message;
    fn foil_record_start(wait: Option<unsafe extern "C" fn()>) -> Message;
    fn foil_record_stop(tell: extern "C" fn(*mut c_void, *const c_char, i64, f64), listener: *mut c_void) -> Message;
}

/// Takes a message over.
fn check(message: Message) -> Result<()> {
    if message.is_null() {
        return Ok(());
    }
    // # Safety
    // The shim's messages are C strings from `strdup`; this one is read once, then freed, and not used again.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        foil_free(message);
        text
    };
    Err(Error::new(torch_message(&text)))
}

fn at(tensor: &Tensor) -> *const At {
    tensor.as_ptr().cast()
}

/// Runs `make`, which writes a new tensor to where it is told, and takes the tensor over.
fn made(make: impl FnOnce(*mut *mut At) -> Message) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    check(make(&raw mut out))?;
    // # Safety
    // Without a message the shim has written a pointer to a new at::Tensor that belongs to us; tch frees it.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

/// `xs` `[N, C, H, W]` with channels-last strides: itself if it has them, else a copy.
///
/// # Errors
/// When `xs` has not four dimensions.
pub fn channels_last(xs: &Tensor) -> Result<Tensor> {
    // # Safety
    // `xs` lives through the call and is only read.
    made(|out| unsafe { foil_channels_last(out, at(xs)) })
}

/// Whether `xs` `[N, C, H, W]` lies channels-last.
pub fn is_channels_last(xs: &Tensor) -> bool {
    let mut yes = false;
    // # Safety
    // As above; `yes` outlives the call.
    check(unsafe { foil_is_channels_last(&raw mut yes, at(xs)) }).is_ok() && yes
}

/// The gradient of a convolution with respect to its input, of which only shape, kind and strides count.
///
/// # Errors
/// When the shapes do not belong together.
pub fn conv_input_gradient(
    gradient: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    stride: i64,
    padding: i64,
) -> Result<Tensor> {
    // # Safety
    // All three tensors live through the call and are only read.
    made(|out| unsafe { foil_conv_input_gradient(out, at(gradient), at(input), at(weight), stride, padding) })
}

/// The gradient of a batch norm in train mode with respect to its input; `mean` and `inverse_std` `[C]` are the batch's.
///
/// # Errors
/// When the shapes do not belong together.
pub fn batch_norm_input_gradient(
    gradient: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    [mean, inverse_std]: [&Tensor; 2],
    eps: f64,
) -> Result<Tensor> {
    let (gradient, input, weight) = (at(gradient), at(input), at(weight));
    // # Safety
    // The borrows of all five tensors outlast the call, which only reads them.
    made(|out| unsafe { foil_batch_norm_input_gradient(out, gradient, input, weight, at(mean), at(inverse_std), eps) })
}

/// Says whether CUDA may compute fp32 products in TF32, for the whole process. Does nothing on a CPU.
///
/// # Errors
/// When libtorch refuses.
pub fn allow_tf32(allow: bool) -> Result<()> {
    // # Safety
    // Sets two flags of libtorch.
    check(unsafe { foil_allow_tf32(allow) })
}

/// Says whether CUDA must compute the same bits each time, for the whole process; otherwise it tries out convolutions and keeps the
/// fastest. A CPU always does the same.
///
/// # Errors
/// When libtorch refuses.
pub fn deterministic(deterministic: bool) -> Result<()> {
    // # Safety
    // Sets flags of libtorch.
    check(unsafe { foil_deterministic(deterministic) })
}

/// An operator's calls while [`record`] ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Calls {
    /// Its name, such as `aten::convolution`.
    pub operator: String,
    /// How often it was called.
    pub count: u64,
    /// Seconds in it, without those in operators that it called.
    pub seconds: f64,
}

/// Runs `work` and tells which operators it called, by name, on all threads. One recording at a time.
///
/// `wait`, if any, is called before and after each operator; on CUDA it waits for the device, so that seconds are the device's.
///
/// # Errors
/// When another recording runs.
pub fn record<T>(wait: Option<unsafe extern "C" fn()>, work: impl FnOnce() -> T) -> Result<(T, Vec<Calls>)> {
    /// Ends the recording also when `work` panics.
    struct Recording;
    impl Recording {
        fn stop(&self) -> Result<Vec<Calls>> {
            extern "C" fn tell(listener: *mut c_void, name: *const c_char, count: i64, seconds: f64) {
                // # Safety
                // `listener` is the vector below, borrowed by nothing else; `name` is a C string that lives through this call.
                let (calls, name) = unsafe { (&mut *listener.cast::<Vec<Calls>>(), CStr::from_ptr(name)) };
                let operator = name.to_string_lossy().into_owned();
                calls.push(Calls { operator, count: count.unsigned_abs(), seconds });
            }
            let mut calls: Vec<Calls> = Vec::new();
            // # Safety
            // `tell` is only called before this returns, with the pointer that is given here.
            check(unsafe { foil_record_stop(tell, (&raw mut calls).cast()) })?;
            Ok(calls)
        }
    }
    impl Drop for Recording {
        fn drop(&mut self) {
            // Already ended where all went well.
            let _ = self.stop();
        }
    }
    // # Safety
    // `wait` is a function of the process's whole life, by its type.
    check(unsafe { foil_record_start(wait) })?;
    let recording = Recording;
    let done = work();
    let calls = recording.stop()?;
    Ok((done, calls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;
    use tch::{Device, Kind};

    fn rand(size: &[i64]) -> Tensor {
        Tensor::randn(size, (Kind::Double, Device::Cpu))
    }

    #[test]
    fn memory_formats() {
        let xs = rand(&[2, 3, 4, 5]);
        let last = channels_last(&xs).unwrap();
        assert!(!is_channels_last(&xs) && is_channels_last(&last));
        assert_eq!((last.stride(), &last), (vec![60, 1, 15, 3], &xs));
        assert_eq!(channels_last(&last).unwrap().data_ptr(), last.data_ptr());
        let error = channels_last(&rand(&[2, 3])).unwrap_err();
        assert!(!error.message().contains("Exception raised"), "{error}");
    }

    // Oracle: autograd.
    #[test]
    fn input_gradients_are_autograds() {
        let (xs, weight) = (rand(&[4, 3, 7, 6]).set_requires_grad(true), rand(&[5, 3, 3, 3]));
        let ys = xs.conv2d(&weight, None::<&Tensor>, [2, 2], [1, 1], [1, 1], 1);
        let gradient = rand(&ys.size());
        let by_autograd = Tensor::run_backward(&[(&ys * &gradient).sum(Kind::Double)], &[&xs], false, false).remove(0);
        assert_close(&conv_input_gradient(&gradient, &xs.detach(), &weight, 2, 1).unwrap(), &by_autograd, 1e-12);

        let (scale, shift) = (rand(&[3]), rand(&[3]));
        let none = None::<&Tensor>;
        let (ys, mean, inverse_std) = xs.native_batch_norm(Some(&scale), Some(&shift), none, none, true, 0.1, 1e-5);
        let gradient = rand(&ys.size());
        let by_autograd = Tensor::run_backward(&[(&ys * &gradient).sum(Kind::Double)], &[&xs], false, false).remove(0);
        let [mean, inverse_std] = [mean.detach(), inverse_std.detach()];
        let found = batch_norm_input_gradient(&gradient, &xs.detach(), &scale, [&mean, &inverse_std], 1e-5);
        assert_close(&found.unwrap(), &by_autograd, 1e-12);
        assert!(conv_input_gradient(&gradient, &xs, &rand(&[5, 4, 3, 3]), 1, 1).is_err());
    }

    #[test]
    fn operators_are_recorded_with_what_they_call() {
        let (sum, calls) = record(None, || rand(&[8, 8]).matmul(&rand(&[8, 8])).sum(Kind::Double)).unwrap();
        assert!(sum.isfinite().int64_value(&[]) == 1);
        let count = |name: &str| calls.iter().find(|c| c.operator == name).map_or(0, |c| c.count);
        assert!(count("aten::mm") >= 1 && count("aten::sum") >= 1, "{calls:?}");
        assert!(calls.iter().all(|c| c.seconds >= 0.0 && c.seconds < 60.0), "{calls:?}");
    }
}
