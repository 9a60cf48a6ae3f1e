//! foil's CUDA kernels (framework/cuda/kernels.cu) on a CPU, for the tests: the same source with
//! blocks, threads, barriers and shared memory emulated (host.h). What it cannot show is how a GPU
//! rounds fused products and how fast it is. In place of the convolutions for Hopper stands what
//! they promise (convolutions.cpp), for the code that calls them.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_void};

unsafe extern "C" {
    fn foil_host_name(i: usize) -> *const c_char;
    fn foil_host_letters(i: usize) -> *const c_char;
    fn foil_host_launch(
        i: usize,
        x: u32,
        y: u32,
        threads: u32,
        arguments: *mut *mut c_void,
        backwards: bool,
    ) -> *const c_char;
    fn foil_host_convolve(name: *const c_char, pointers: *const *mut c_void, n: i32, side: i32) -> *const c_char;
}

thread_local! {
    static COUNTS: RefCell<BTreeMap<String, u64>> = RefCell::default();
    static LAUNCHES: Cell<u64> = const { Cell::new(0) };
}

/// # Safety
/// `text` is null or a C string that is never freed.
unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: As above.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// The names of all kernels in the source.
pub fn names() -> BTreeSet<String> {
    // SAFETY: Names are part of the program.
    (0..).map_while(|i| unsafe { text(foil_host_name(i)) }).collect()
}

/// How often each kernel was launched on this thread so far, and each convolution for Hopper asked
/// for.
pub fn counts() -> BTreeMap<String, u64> {
    COUNTS.with_borrow(Clone::clone)
}

fn count(name: &str) {
    COUNTS.with_borrow_mut(|all| *all.entry(name.to_owned()).or_default() += 1);
}

/// How many kernels this thread has launched so far.
pub fn launches() -> u64 {
    LAUNCHES.get()
}

/// Runs a kernel on memory of this process. `letters` says what the arguments are (host.cpp), `?` a
/// pointer that is null. Every second launch begins with the last block and the last thread.
///
/// # Errors
/// When there is no such kernel, the arguments are not those of its declaration, or its threads
/// part at a barrier.
///
/// # Safety
/// Each pointer points to a value of its letter's type, and those that are pointers to as many
/// numbers as the kernel touches.
pub unsafe fn launch(
    name: &str,
    letters: &str,
    [x, y]: [u32; 2],
    threads: u32,
    arguments: *mut *mut c_void,
) -> Result<(), String> {
    // SAFETY: Names are part of the program.
    let found = (0..).map_while(|i| unsafe { text(foil_host_name(i)) }).position(|known| known == name);
    let i = found.ok_or_else(|| format!("there is no kernel called {name}"))?;
    // SAFETY: A kernel's letters live as long as the program.
    let declared = unsafe { text(foil_host_letters(i)) }.unwrap_or_default();
    let fits = |(given, declared): (char, char)| given == declared || given == '?' && declared.is_uppercase();
    if letters.len() != declared.len() || !letters.chars().zip(declared.chars()).all(fits) {
        return Err(format!("{name} takes {declared}, and was given {letters}"));
    }
    count(name);
    let backwards = LAUNCHES.replace(LAUNCHES.get() + 1) % 2 == 1;
    // SAFETY: By this function's contract, and the letters are checked.
    unsafe { text(foil_host_launch(i, x, y, threads, arguments, backwards)) }.map_or(Ok(()), Err)
}

/// Does on memory of this process what a convolution for Hopper does on its own; pointers are those
/// of `foil_cuda_conv` or `foil_cuda_conv_down` in their order, for `n` images that it writes or
/// reads `side` pixels wide.
///
/// # Errors
/// When there is no such convolution, or it is given what it does not use or not what it does.
///
/// # Safety
/// Each pointer is null or points to as many numbers as the convolution touches.
pub unsafe fn convolve(name: &str, pointers: &[*mut c_void], n: i32, side: i32) -> Result<(), String> {
    count(name);
    let name = CString::new(name).map_err(|error| error.to_string())?;
    // SAFETY: By this function's contract; the name outlives the call.
    unsafe { text(foil_host_convolve(name.as_ptr(), pointers.as_ptr(), n, side)) }.map_or(Ok(()), Err)
}
