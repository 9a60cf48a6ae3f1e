//! Time on the device.

use super::functions;
use crate::Result;
use std::ffi::c_void;

/// A moment on this thread's stream.
#[derive(Debug)]
pub struct Event(*mut c_void);

impl Event {
    /// After everything that was asked of the device so far.
    ///
    /// # Errors
    /// As [`super::usable`], or what CUDA reports.
    pub fn now() -> Result<Self> {
        let f = functions()?;
        let mut raw = std::ptr::null_mut();
        // # Safety
        // `raw` outlives the call.
        f.check(unsafe { (f.event)(&raw mut raw) })?;
        Ok(Self(raw))
    }

    /// Milliseconds from `earlier` to this event, which is waited for.
    ///
    /// # Errors
    /// What CUDA reports.
    pub fn milliseconds_since(&self, earlier: &Event) -> Result<f64> {
        let f = functions()?;
        let mut milliseconds = 0f32;
        // # Safety
        // Both events are live, and the number outlives the call.
        f.check(unsafe { (f.elapsed)(&raw mut milliseconds, earlier.0, self.0) })?;
        Ok(f64::from(milliseconds))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Ok(f) = functions() {
            // # Safety
            // The event is ours and is not used after this.
            unsafe { (f.event_free)(self.0) }
        }
    }
}
