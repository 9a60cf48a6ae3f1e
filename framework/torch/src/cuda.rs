//! CUDA's half of the shim, `libfoil_cuda.so` (framework/cuda), opened at run time where there is a
//! GPU.
//!
//! `cargo xtask cuda` compiles it beside the program. Without it training works on a GPU too, but
//! step by step: no capture, and libtorch's own kernels.

#![allow(unsafe_code)]

mod comm;
pub mod conv;
mod graph;
mod kernel;
pub mod kernels;
#[doc(hidden)]
pub mod stand_in;

pub use comm::{Comm, CommId};
pub use graph::Graph;
pub use kernel::{Grid, THREADS, VECTOR};

use crate::{Error, Result};
use libloading::os::unix::Library;
use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;
use std::sync::{Once, OnceLock};

/// Null, or a message to give back to the library.
type Message = *mut c_char;

/// What this program expects of `foil_cuda_version`.
const VERSION: i32 = 7;

/// The facts that `foil_cuda_device` writes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct RawDevice {
    name: [c_char; 128],
    capability: i32,
    multiprocessors: i32,
    memory: i64,
    cache: i64,
}

/// What a CUDA device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Compute capability times ten: 90 for Hopper.
    pub capability: i32,
    /// Number of multiprocessors.
    pub multiprocessors: i32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of level-2 cache.
    pub cache: u64,
}

impl Gpu {
    /// Whether devices of this compute capability, times ten, are a data centre's (A100, H100,
    /// B200), with 2 TB/s of memory or more.
    pub fn has_fast_memory(capability: i32) -> bool {
        [80, 90, 100].contains(&capability)
    }
}

/// Declares the library's functions once: a field for each, read by name when the library is
/// opened.
macro_rules! functions {
    ($($name:ident: unsafe extern "C" fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The library's functions. Copies of pointers into a library that is never closed.
        struct Functions { $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        /// The same as text, to compare with the C++ sources.
        #[cfg(test)]
        const DECLARED: &[(&str, &[&str])] = &[$((stringify!($name), &[$(stringify!($argument)),*])),*];

        impl Functions {
            /// # Safety
            /// `library` is of this version, so that each name has this signature.
            unsafe fn of(library: &Library) -> Result<Self, libloading::Error> {
                // SAFETY: As above; the pointers outlive `library` because it is never closed.
                unsafe { Ok(Self { $($name: *library.get(concat!("foil_cuda_", stringify!($name)).as_bytes())?,)* }) }
            }
        }
    };
}

functions! {
    free: unsafe extern "C" fn(Message);
    fits: unsafe extern "C" fn() -> Message;
    device: unsafe extern "C" fn(i32, *mut RawDevice) -> Message;
    own_stream: unsafe extern "C" fn(i32) -> Message;
    wait: unsafe extern "C" fn() -> Message;
    wait_silently: unsafe extern "C" fn();
    graph_begin: unsafe extern "C" fn(*mut *mut c_void, *mut c_void) -> Message;
    graph_end: unsafe extern "C" fn(*mut c_void) -> Message;
    graph_replay: unsafe extern "C" fn(*mut c_void) -> Message;
    graph_free: unsafe extern "C" fn(*mut c_void);
    peak: unsafe extern "C" fn(i32, *mut i64, *mut i64) -> Message;
    reset_peak: unsafe extern "C" fn(i32) -> Message;
    empty_cache: unsafe extern "C" fn() -> Message;
    kernel: unsafe extern "C" fn(*mut *mut c_void, *const c_char) -> Message;
    launch: unsafe extern "C" fn(*mut c_void, u32, u32, u32, *mut *mut c_void) -> Message;
    conv: unsafe extern "C" fn(*const c_char, *const c_void, *const c_void, *mut c_void, *const c_void, *mut c_void, *const f32, *const f32, *const f32, *mut f32, i32, i32) -> Message;
    conv_down: unsafe extern "C" fn(*const c_char, i32, *mut c_void, *const c_void, *const c_void, *mut c_void, *mut c_void, *const c_void, *const f32, *const f32, *const f32, *mut f32, i32, i32) -> Message;
    comm_version: unsafe extern "C" fn(*mut i32) -> Message;
    comm_id: unsafe extern "C" fn(*mut u8) -> Message;
    comm_open: unsafe extern "C" fn(*mut *mut c_void, *const u8, i32, i32, i32) -> Message;
    comm_sum: unsafe extern "C" fn(*mut c_void, *const c_void) -> Message;
    comm_broadcast: unsafe extern "C" fn(*mut c_void, *const c_void) -> Message;
    comm_mark: unsafe extern "C" fn(*mut c_void) -> Message;
    comm_waits: unsafe extern "C" fn(*mut c_void, *mut i64) -> Message;
    comm_abort: unsafe extern "C" fn(*mut c_void);
}

/// The opened library, or why there is none.
fn functions() -> Result<&'static Functions> {
    static FUNCTIONS: OnceLock<Result<Functions, String>> = OnceLock::new();
    let opened = FUNCTIONS.get_or_init(|| {
        let found = crate::device::devices();
        if found.cuda == 0 {
            return Err("there is no CUDA device".to_string());
        }
        let path = places().into_iter().find(|path| path.exists());
        open(&path.ok_or("libfoil_cuda.so is not beside the program; build it with `cargo xtask cuda`")?)
    });
    opened.as_ref().map_err(|why| Error::new(why.clone()))
}

/// Where the library may lie: beside the program, or beside the folder of a test's program.
fn places() -> Vec<PathBuf> {
    let program = crate::program::file().unwrap_or_default();
    program.ancestors().skip(1).take(2).map(|folder| folder.join("libfoil_cuda.so")).collect()
}

fn open(path: &std::path::Path) -> Result<Functions, String> {
    let described = |error: libloading::Error| format!("{}: {error}", path.display());
    let now = libloading::os::unix::RTLD_NOW;
    // SAFETY: The file is foil's own, compiled for this libtorch; RTLD_NOW finds out here if a
    // symbol is missing. Its version is asked for, by a function whose signature never changes,
    // before any other is trusted. It is never closed.
    unsafe {
        let library = Library::open(Some(path), now).map_err(described)?;
        let version = library.get::<unsafe extern "C" fn() -> i32>(b"foil_cuda_version").map_err(described)?();
        if version != VERSION {
            return Err(format!(
                "{} has version {version}, not {VERSION}; rebuild it with `cargo xtask cuda`",
                path.display()
            ));
        }
        let functions = Functions::of(&library).map_err(described)?;
        std::mem::forget(library);
        functions.check((functions.fits)()).map_err(|error| format!("{}: {}", path.display(), error.message()))?;
        Ok(functions)
    }
}

impl Functions {
    /// Takes a message over.
    fn check(&self, message: Message) -> Result<()> {
        if message.is_null() {
            return Ok(());
        }
        // SAFETY: The library's messages are C strings from `strdup`, read once and freed.
        let text = unsafe {
            let text = CStr::from_ptr(message).to_string_lossy().into_owned();
            (self.free)(message);
            text
        };
        Err(Error::torch(&text))
    }
}

/// Passes a launch's result on. If it failed, libtorch's operators take over, and the first time a
/// warning says so.
fn warn_once<T>(launched: Result<T>) -> Result<T> {
    static ONCE: Once = Once::new();
    launched.inspect_err(|error| {
        ONCE.call_once(|| {
            tracing::warn!("using libtorch's kernels in place of foil's own, which is slower: {}", error.message());
        });
    })
}

/// Whether the library can be used here; the error says why not.
///
/// # Errors
/// No CUDA device, no library, or one that does not fit.
pub fn usable() -> Result<()> {
    functions().map(drop)
}

/// What a device is.
///
/// # Errors
/// As [`usable`], or when there is no such device.
pub fn gpu(device: usize) -> Result<Gpu> {
    let f = functions()?;
    let mut raw = RawDevice { name: [0; 128], capability: 0, multiprocessors: 0, memory: 0, cache: 0 };
    // SAFETY: `raw` has the layout of the C struct and outlives the call.
    f.check(unsafe { (f.device)(device as i32, &raw mut raw) })?;
    // SAFETY: The library ends the name with a zero.
    let name = unsafe { CStr::from_ptr(raw.name.as_ptr()) }.to_string_lossy().into_owned();
    Ok(Gpu {
        name,
        capability: raw.capability,
        multiprocessors: raw.multiprocessors,
        memory: raw.memory.unsigned_abs(),
        cache: raw.cache.unsigned_abs(),
    })
}

/// Puts this thread on a stream of its own, since the default stream cannot be captured.
///
/// # Errors
/// As [`usable`], or what CUDA reports.
pub fn own_stream(device: usize) -> Result<()> {
    let f = functions()?;
    // SAFETY: Sets this thread's current stream; what ran before is waited for.
    f.check(unsafe { (f.own_stream)(device as i32) })
}

/// Waits until this thread's stream is idle.
///
/// # Errors
/// As [`usable`], or what CUDA reports of work done before.
pub fn wait() -> Result<()> {
    let f = functions()?;
    // SAFETY: Takes nothing and only waits.
    f.check(unsafe { (f.wait)() })
}

/// A C function that waits, for [`crate::shim::record`].
pub fn waiting() -> Option<unsafe extern "C" fn()> {
    functions().ok().map(|f| f.wait_silently)
}

/// The most bytes that tensors held at once since [`reset_peak`], and the most that were taken from
/// the device.
///
/// # Errors
/// As [`usable`].
pub fn peak(device: usize) -> Result<[u64; 2]> {
    let f = functions()?;
    let (mut tensors, mut reserved) = (0, 0);
    // SAFETY: Both numbers outlive the call.
    f.check(unsafe { (f.peak)(device as i32, &raw mut tensors, &raw mut reserved) })?;
    Ok([tensors.unsigned_abs(), reserved.unsigned_abs()])
}

/// Starts the measurement of [`peak`] again.
///
/// # Errors
/// As [`usable`].
pub fn reset_peak(device: usize) -> Result<()> {
    let f = functions()?;
    // SAFETY: Resets two counters.
    f.check(unsafe { (f.reset_peak)(device as i32) })
}

/// Gives cached memory back to the device.
///
/// # Errors
/// As [`usable`].
pub fn empty_cache() -> Result<()> {
    let f = functions()?;
    // SAFETY: Only frees blocks that no tensor uses.
    f.check(unsafe { (f.empty_cache)() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_device_each_function_says_so() {
        if crate::device::devices().cuda > 0 {
            return assert!(gpu(0).is_ok_and(|gpu| gpu.memory > 0 && gpu.capability >= 30));
        }
        let captured = Graph::capture(None, || Ok(())).map(drop);
        let results = [usable(), gpu(0).map(drop), captured, Comm::version().map(drop), Comm::id().map(drop)];
        for error in results.map(Result::unwrap_err) {
            assert_eq!(error.message(), "there is no CUDA device");
        }
        assert!(waiting().is_none());
    }

    /// Whether a C parameter such as `int64_t* out` is what Rust calls `rust`; what a pointer
    /// points to counts where it is a number.
    fn alike(rust: &str, c: &str) -> bool {
        let numbers = [("i32", "int"), ("i64", "int64_t"), ("u32", "unsigned"), ("u8", "uint8_t"), ("f32", "float")];
        let type_of = c.trim().rsplit_once([' ', '*']).map_or("", |(before, _)| before);
        let (pointer, c) = (c.contains('*'), type_of.trim_start_matches("const ").trim_end_matches('*').trim());
        let inner = rust.rsplit(' ').next().unwrap_or_default();
        let number = numbers.iter().find(|(name, _)| *name == inner).map(|(_, name)| *name);
        let known = numbers.iter().any(|(_, name)| *name == c);
        // `cudaKernel_t` and its like are pointers by another name.
        let points = pointer || c.ends_with("_t") && !known || c == "void";
        rust.starts_with('*') == points && (if known { number == Some(c) } else { number.is_none() })
    }

    #[test]
    fn the_library_defines_what_is_called_with_these_parameters() {
        let sources = [
            include_str!("../../cuda/foil_cuda.cpp"),
            include_str!("../../cuda/conv.cpp"),
            include_str!("../../cuda/nccl.cpp"),
        ]
        .concat();
        for (name, arguments) in DECLARED.iter().filter(|(name, _)| *name != "free") {
            let start = format!(" foil_cuda_{name}(");
            let defined = sources.find(&start).unwrap_or_else(|| panic!("foil_cuda_{name} is not defined"));
            let parameters = sources[defined + start.len()..].split(')').next().unwrap();
            let parameters: Vec<&str> = parameters.split(',').filter(|text| !text.trim().is_empty()).collect();
            assert_eq!(arguments.len(), parameters.len(), "foil_cuda_{name}");
            for (rust, c) in arguments.iter().zip(parameters) {
                assert!(alike(rust, c), "foil_cuda_{name}: {rust} is not{c}");
            }
        }
        assert!(!alike("i32", "int64_t n") && !alike("*mut i64", "int* n") && !alike("i64", "int64_t* n"));
    }
}
