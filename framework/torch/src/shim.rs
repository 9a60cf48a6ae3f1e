//! What tch does not bind, from the C++ shim in `framework/shim`: memory formats, gradients of
//! single operators, TF32's switches, recorders of what runs.
//!
//! Each function here is a safe form of one there; a C++ exception comes back as an error with its
//! message.

#![allow(unsafe_code)]

// The crate of the C++ functions: without a mention it is not linked.
use foil_shim as _;

mod record;

pub use record::{Calls, kernels, record};

use crate::{Error, Result};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use tch::Tensor;

/// What tch calls `C_tensor`: an `at::Tensor`.
pub type At = c_void;
/// What a function of the shim says: nothing, or why it failed.
#[derive(Debug)]
#[repr(transparent)]
pub struct Message(*mut c_char);

impl Message {
    /// All is well.
    pub const NONE: Self = Self(std::ptr::null_mut());

    /// What a Rust function that the shim calls says to it.
    pub fn of(text: &CStr) -> Self {
        // SAFETY: `strdup` copies the string, which lives through the call; who gets the message
        // frees the copy.
        Self(unsafe { libc::strdup(text.as_ptr()) })
    }
}

unsafe extern "C" {
    fn foil_free(message: Message);
    fn foil_channels_last(out: *mut *mut At, input: *const At) -> Message;
    fn foil_is_channels_last(out: *mut bool, input: *const At) -> Message;
    fn foil_version(out: *mut u64, input: *const At) -> Message;
    fn foil_conv_input_gradient(
        out: *mut *mut At,
        gradient: *const At,
        input: *const At,
        weight: *const At,
        stride: i64,
        padding: i64,
    ) -> Message;
    fn foil_conv_weight_gradient(
        out: *mut *mut At,
        gradient: *const At,
        input: *const At,
        weight: *const At,
        stride: i64,
        padding: i64,
    ) -> Message;
    fn foil_batch_norm_gradients(
        out: *mut *mut At,
        gradient: *const At,
        input: *const At,
        weight: *const At,
        mean: *const At,
        inverse_std: *const At,
        eps: f64,
        learns: bool,
    ) -> Message;
    fn foil_allow_tf32(allow: bool) -> Message;
    fn foil_deterministic(deterministic: bool) -> Message;
    fn foil_flush_denormal(flush: bool) -> Message;
}

/// Takes a message over.
pub fn check(message: Message) -> Result<()> {
    if message.0.is_null() {
        return Ok(());
    }
    // SAFETY: The shim's messages are C strings from `strdup`; this one is read once, then freed,
    // and not used again.
    let text = unsafe {
        let text = CStr::from_ptr(message.0).to_string_lossy().into_owned();
        foil_free(message);
        text
    };
    Err(Error::torch(&text))
}

/// libtorch's own object behind `tensor`, for calls into the shim.
pub fn at(tensor: &Tensor) -> *const At {
    tensor.as_ptr().cast()
}

/// Runs `make`, which writes a new tensor to its argument, and takes the tensor over.
fn made(make: impl FnOnce(*mut *mut At) -> Message) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    check(make(&raw mut out))?;
    // SAFETY: Without a message the shim has written a pointer to a new at::Tensor that belongs to
    // us; tch frees it.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

/// `xs` `[N, C, H, W]` with channels-last strides: itself if it has them, else a copy.
///
/// # Errors
/// When `xs` has not four dimensions.
pub fn channels_last(xs: &Tensor) -> Result<Tensor> {
    // SAFETY: `xs` lives through the call and is only read.
    made(|out| unsafe { foil_channels_last(out, at(xs)) })
}

/// Whether `xs` `[N, C, H, W]` lies channels-last.
pub fn is_channels_last(xs: &Tensor) -> bool {
    let mut yes = false;
    // SAFETY: As above; `yes` outlives the call.
    check(unsafe { foil_is_channels_last(&raw mut yes, at(xs)) }).is_ok() && yes
}

/// How often the numbers of `xs`, or of a tensor that shares them, were changed in place; 0 where
/// libtorch does not count.
pub fn version(xs: &Tensor) -> u64 {
    let mut found = 0;
    // SAFETY: `xs` lives through the call and is only read; `found` outlives it.
    check(unsafe { foil_version(&raw mut found, at(xs)) }).map_or(0, |()| found)
}

/// The gradient of a convolution with respect to its input, of which only shape, kind and strides
/// count.
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
    // SAFETY: All three tensors live through the call and are only read.
    made(|out| unsafe { foil_conv_input_gradient(out, at(gradient), at(input), at(weight), stride, padding) })
}

/// The gradient of a convolution with respect to its weight, of which only shape, kind and strides
/// count.
///
/// # Errors
/// When the shapes do not belong together.
pub fn conv_weight_gradient(
    gradient: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    stride: i64,
    padding: i64,
) -> Result<Tensor> {
    // SAFETY: All three tensors live through the call and are only read.
    made(|out| unsafe { foil_conv_weight_gradient(out, at(gradient), at(input), at(weight), stride, padding) })
}

/// The gradient of a batch norm in train mode with respect to its input, and with `learns` those
/// with respect to weight and bias; `mean` and `inverse_std` `[C]` are the batch's.
///
/// # Errors
/// When the shapes do not belong together.
pub fn batch_norm_gradients(
    gradient: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    [mean, inverse_std]: [&Tensor; 2],
    eps: f64,
    learns: bool,
) -> Result<(Tensor, Option<[Tensor; 2]>)> {
    let (gradient, input, weight) = (at(gradient), at(input), at(weight));
    let mut out = [std::ptr::null_mut(); 3];
    // SAFETY: The borrows of all five tensors outlast the call, which only reads them; there is
    // room for three.
    check(unsafe {
        foil_batch_norm_gradients(out.as_mut_ptr(), gradient, input, weight, at(mean), at(inverse_std), eps, learns)
    })?;
    // SAFETY: Without a message the shim has written pointers to new at::Tensors that belong to us,
    // three with `learns` and otherwise one; tch frees them.
    let owned = |found: *mut At| unsafe { Tensor::from_ptr(found.cast()) };
    Ok((owned(out[0]), learns.then(|| [owned(out[1]), owned(out[2])])))
}

/// Says whether CUDA may compute fp32 products in TF32, for the whole process. Does nothing on a
/// CPU.
///
/// # Errors
/// When libtorch refuses.
pub fn allow_tf32(allow: bool) -> Result<()> {
    ALLOWS_TF32.store(allow, Ordering::Relaxed);
    // SAFETY: Sets two flags of libtorch.
    check(unsafe { foil_allow_tf32(allow) })
}

/// What [`allow_tf32`] said last; libtorch's convolutions begin with yes.
static ALLOWS_TF32: AtomicBool = AtomicBool::new(true);

/// Whether CUDA may compute fp32 products in TF32.
pub fn allows_tf32() -> bool {
    ALLOWS_TF32.load(Ordering::Relaxed)
}

/// Sets whether the processor takes subnormal numbers for 0 (`torch.set_flush_denormal`), in this
/// thread and in those that compute for it. Does nothing on a processor without the switch.
///
/// # Errors
/// When libtorch refuses.
pub fn flush_denormal(flush: bool) -> Result<()> {
    thread_local! {
        /// What was set last; a thread begins with the processor's default.
        static FLUSHES: Cell<bool> = const { Cell::new(false) };
    }
    if FLUSHES.replace(flush) == flush {
        return Ok(());
    }
    // SAFETY: Sets a flag of the processor in threads of libtorch's.
    check(unsafe { foil_flush_denormal(flush) })
}

/// Says whether CUDA must compute the same bits each time, for the whole process; otherwise it
/// tries out convolutions and keeps the fastest. A CPU always does the same.
///
/// # Errors
/// When libtorch refuses.
pub fn deterministic(deterministic: bool) -> Result<()> {
    // SAFETY: Sets flags of libtorch.
    check(unsafe { foil_deterministic(deterministic) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn subnormal_numbers_are_zero_while_they_are_flushed() {
        // Enough numbers for all of OpenMP's threads.
        let smallest = Tensor::full([1 << 20], f64::from(f32::MIN_POSITIVE), (Kind::Float, Device::Cpu));
        let survive = || i64::try_from((&smallest * 0.5).ne(0.0).sum(Kind::Int64)).unwrap();
        assert_eq!(survive(), 1 << 20);
        for (flush, expected) in [(true, 0), (false, 1 << 20), (true, 0)] {
            flush_denormal(flush).unwrap();
            assert_eq!(survive(), expected, "{flush}");
        }
    }

    fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) {
        let far = (a - b).abs().max().double_value(&[]);
        assert!(a.size() == b.size() && far <= tolerance, "{far}");
    }

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
    fn gradients_are_autograds() {
        let [xs, weight] = [[4, 3, 7, 6], [5, 3, 3, 3]].map(|size| rand(&size).set_requires_grad(true));
        let ys = xs.conv2d(&weight, None::<&Tensor>, [2, 2], [1, 1], [1, 1], 1);
        let gradient = rand(&ys.size());
        let value = (&ys * &gradient).sum(Kind::Double);
        let by_autograd = Tensor::run_backward(&[value], &[&xs, &weight], false, false);
        let (x, weight) = (xs.detach(), weight.detach());
        let found = [conv_input_gradient, conv_weight_gradient].map(|of| of(&gradient, &x, &weight, 2, 1).unwrap());
        found.iter().zip(&by_autograd).for_each(|(found, expected)| assert_close(found, expected, 1e-12));

        let [scale, shift] = [(); 2].map(|()| rand(&[3]).set_requires_grad(true));
        let none = None::<&Tensor>;
        let (ys, mean, inverse_std) = xs.native_batch_norm(Some(&scale), Some(&shift), none, none, true, 0.1, 1e-5);
        let gradient = rand(&ys.size());
        let value = (&ys * &gradient).sum(Kind::Double);
        let by_autograd = Tensor::run_backward(&[value], &[&xs, &scale, &shift], false, false);
        let [mean, inverse_std] = [mean.detach(), inverse_std.detach()];
        for learns in [false, true] {
            let statistics = [&mean, &inverse_std];
            let found = batch_norm_gradients(&gradient, &xs.detach(), &scale.detach(), statistics, 1e-5, learns);
            let (d_xs, learned) = found.unwrap();
            assert_eq!(learned.is_some(), learns);
            for (found, expected) in [d_xs].iter().chain(learned.iter().flatten()).zip(&by_autograd) {
                assert_close(found, expected, 1e-12);
            }
        }
        assert!(conv_input_gradient(&gradient, &xs, &rand(&[5, 4, 3, 3]), 1, 1).is_err());
    }
}
