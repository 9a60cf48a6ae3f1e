//! For tests: the kernels on a CPU in place of CUDA's.

use std::cell::Cell;
use std::ffi::c_void;

/// Runs the kernel of this name, with a letter for each argument (B, F, D, U for pointers to bf16,
/// float, double, unsigned, `?` for a null pointer, l, i, f for a long, an int, a float, w for a
/// table of words), the numbers of blocks along x and y, the threads of each, and pointers to the
/// arguments.
type Launch = unsafe fn(&str, &str, [u32; 2], u32, *mut *mut c_void) -> Result<(), String>;

/// Computes what the Hopper convolution of this name does, with the arguments of `foil_cuda_conv`
/// or `foil_cuda_conv_down`: pointers, the number of images, their side.
type Convolve = unsafe fn(&str, &[*mut c_void], i32, i32) -> Result<(), String>;

/// Where kernels run in a test.
#[derive(Debug, Clone, Copy)]
pub struct StandIn {
    pub(super) launch: Launch,
    convolve: Option<Convolve>,
}

thread_local! {
    static CURRENT: Cell<Option<StandIn>> = const { Cell::new(None) };
}

impl StandIn {
    /// # Safety
    /// `launch` runs the kernels of framework/cuda/kernels.cu on the memory of tensors of the CPU.
    pub const unsafe fn new(launch: Launch) -> Self {
        Self { launch, convolve: None }
    }

    /// With convolutions for Hopper too.
    ///
    /// # Safety
    /// `convolve` does on the memory of tensors of the CPU what framework/cuda/conv.cpp says.
    #[must_use]
    pub const unsafe fn with_convolutions(self, convolve: Convolve) -> Self {
        Self { convolve: Some(convolve), ..self }
    }

    /// Runs `work` with this thread's kernels on CPU tensors. A launch that fails panics.
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
pub fn is_here() -> bool {
    CURRENT.get().is_some()
}

/// Whether convolutions for Hopper can be run on tensors of the CPU.
pub fn convolves() -> bool {
    CURRENT.get().is_some_and(|stand_in| stand_in.convolve.is_some())
}

/// Runs a convolution for Hopper, if they run here; whether it did. One that fails panics.
///
/// # Safety
/// As [`StandIn::with_convolutions`] was promised: pointers are null or to memory of the CPU that
/// the convolution may touch.
pub(super) unsafe fn convolve(name: &str, pointers: &[*mut c_void], n: i32, side: i32) -> bool {
    let Some(convolve) = CURRENT.get().and_then(|stand_in| stand_in.convolve) else { return false };
    // SAFETY: By this function's contract.
    unsafe { convolve(name, pointers, n, side) }.unwrap_or_else(|error| panic!("{error}"));
    true
}
