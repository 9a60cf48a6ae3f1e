//! What runs: operators, and kernels on a GPU.

use super::{Message, check};
use crate::Result;
use std::ffi::{CStr, c_char, c_void};

/// Receives what was recorded: a name, how often it ran, and the seconds in all.
type Tell = extern "C" fn(*mut c_void, *const c_char, i64, f64);

unsafe extern "C" {
    fn foil_record_start(wait: Option<unsafe extern "C" fn()>) -> Message;
    fn foil_record_stop(tell: Tell, listener: *mut c_void) -> Message;
    fn foil_kernels_start() -> Message;
    fn foil_kernels_stop(tell: Tell, listener: *mut c_void) -> Message;
}

/// An operator's or a kernel's calls while [`record`] or [`kernels`] ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Calls {
    /// Its name, such as `aten::convolution`.
    pub name: String,
    /// How often it was called.
    pub count: u64,
    /// Seconds in it, without those in operators that it called.
    pub seconds: f64,
}

/// Runs `work` and tells which operators it called, by name, on all threads. One recording at a
/// time.
///
/// `wait`, if any, is called before and after each operator; on CUDA it waits for the device, so
/// that seconds are the device's.
///
/// # Errors
/// When another recording runs.
pub fn record<T>(wait: Option<unsafe extern "C" fn()>, work: impl FnOnce() -> T) -> Result<(T, Vec<Calls>)> {
    // SAFETY: `wait` is a function of the process's whole life, by its type.
    check(unsafe { foil_record_start(wait) })?;
    Recording(foil_record_stop).of(work)
}

/// Runs `work`, which waits for the device at its end, and tells which kernels GPUs ran, by name:
/// copies and fills among them, and those of captured graphs. Without a GPU there are none. One
/// recording at a time.
///
/// # Errors
/// When libtorch's profiler cannot run.
pub fn kernels<T>(work: impl FnOnce() -> T) -> Result<(T, Vec<Calls>)> {
    // SAFETY: Takes nothing.
    check(unsafe { foil_kernels_start() })?;
    Recording(foil_kernels_stop).of(work)
}

/// A recording that was begun, with what ends it; it is ended also when the work panics.
struct Recording(unsafe extern "C" fn(Tell, *mut c_void) -> Message);

impl Recording {
    fn of<T>(self, work: impl FnOnce() -> T) -> Result<(T, Vec<Calls>)> {
        let done = work();
        let calls = self.stop();
        std::mem::forget(self);
        Ok((done, calls?))
    }

    fn stop(&self) -> Result<Vec<Calls>> {
        extern "C" fn tell(listener: *mut c_void, name: *const c_char, count: i64, seconds: f64) {
            // SAFETY: `listener` is the vector below, borrowed by nothing else; `name` is a C
            // string that lives through this call.
            let (calls, name) = unsafe { (&mut *listener.cast::<Vec<Calls>>(), CStr::from_ptr(name)) };
            calls.push(Calls { name: name.to_string_lossy().into_owned(), count: count.unsigned_abs(), seconds });
        }
        let mut calls: Vec<Calls> = Vec::new();
        // SAFETY: `tell` is only called before this returns, with the pointer that is given here.
        check(unsafe { (self.0)(tell, (&raw mut calls).cast()) })?;
        Ok(calls)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    fn rand(size: &[i64]) -> Tensor {
        Tensor::randn(size, (Kind::Double, Device::Cpu))
    }

    #[test]
    fn operators_are_recorded_with_what_they_call() {
        let (sum, calls) = record(None, || rand(&[8, 8]).matmul(&rand(&[8, 8])).sum(Kind::Double)).unwrap();
        assert!(sum.isfinite().int64_value(&[]) == 1);
        let count = |name: &str| calls.iter().find(|c| c.name == name).map_or(0, |c| c.count);
        assert!(count("aten::mm") >= 1 && count("aten::sum") >= 1, "{calls:?}");
        assert!(calls.iter().all(|c| c.seconds >= 0.0 && c.seconds < 60.0), "{calls:?}");
    }

    #[test]
    fn kernels_are_those_of_gpus() {
        let device = Device::cuda_if_available();
        for _ in 0..2 {
            let work = || rand(&[8, 8]).to_device(device).exp().sum(Kind::Double).double_value(&[]);
            let (sum, calls) = kernels(work).unwrap();
            assert!(sum > 0.0);
            let names: Vec<_> = calls.iter().map(|c| c.name.as_str()).collect();
            assert_eq!(names.iter().any(|name| name.contains("exp_kernel")), device.is_cuda(), "{names:?}");
            assert!(calls.iter().all(|c| c.count > 0 && c.seconds > 0.0), "{calls:?}");
        }
    }
}
