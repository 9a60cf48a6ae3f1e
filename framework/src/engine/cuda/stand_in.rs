//! For tests: the kernels on a CPU in place of CUDA's.

use std::cell::Cell;
use std::ffi::c_void;

/// Runs the kernel of this name, with a letter for each argument (B, F, D, U for pointers to bf16, float, double, unsigned, `?` for a null pointer,
/// l, i, f for a long, an int, a float, w for a table of words), so many blocks along x and y, so many threads each, and pointers to the arguments.
type Launch = unsafe fn(&str, &str, [u32; 2], u32, *mut *mut c_void) -> Result<(), String>;

/// Where kernels run in a test.
#[derive(Debug, Clone, Copy)]
pub struct StandIn {
    pub(super) launch: Launch,
}

thread_local! {
    static CURRENT: Cell<Option<StandIn>> = const { Cell::new(None) };
}

impl StandIn {
    /// # Safety
    /// `launch` runs the kernels of framework/cuda/kernels.cu on the memory of tensors of the CPU.
    pub const unsafe fn new(launch: Launch) -> Self {
        Self { launch }
    }

    /// Runs `work` with this thread's kernels here, on tensors of the CPU. A launch that fails panics.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(Some(self));
        let done = work();
        CURRENT.set(before);
        done
    }
}

pub(super) fn current() -> Option<StandIn> {
    CURRENT.get()
}

/// Whether kernels can be run on tensors of the CPU.
pub(crate) fn is_here() -> bool {
    CURRENT.get().is_some()
}
