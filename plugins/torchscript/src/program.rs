//! A TorchScript module, from Rust. The only file of this crate with `unsafe`.
#![allow(unsafe_code)]

use foil::{Error, Result};
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::Path;
use tch::{Device, Tensor};

#[repr(C)]
struct Handle {
    _private: [u8; 0],
}
/// tch's own type of the same is not public.
type RawTensor = std::ffi::c_void;

unsafe extern "C" {
    fn foil_program_free_text(text: *mut c_char);
    fn foil_program_free(program: *mut Handle);
    fn foil_program_load(path: *const c_char, device: c_int, out: *mut *mut Handle) -> *mut c_char;
    fn foil_program_slots(program: *const Handle) -> usize;
    fn foil_program_name(program: *const Handle, slot: usize) -> *const c_char;
    fn foil_program_trains(program: *const Handle, slot: usize) -> bool;
    fn foil_program_first(program: *const Handle, slot: usize) -> usize;
    fn foil_program_is_random(program: *const Handle) -> bool;
    fn foil_program_get(program: *const Handle, slot: usize, out: *mut *mut RawTensor) -> *mut c_char;
    fn foil_program_set(program: *mut Handle, slot: usize, tensor: *const RawTensor) -> *mut c_char;
    fn foil_program_forward(
        program: *mut Handle,
        train: bool,
        xs: *const RawTensor,
        out: *mut *mut RawTensor,
    ) -> *mut c_char;
}

/// A loaded module. Its parameters and buffers are numbered slots, which hold any tensor.
#[derive(Debug)]
pub(crate) struct Program(*mut Handle);

// SAFETY: Nothing in a module is tied to a thread; libtorch itself runs modules on many.
unsafe impl Send for Program {}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: The handle came from `foil_program_load` and is freed once.
        unsafe { foil_program_free(self.0) }
    }
}

/// The shim's message as an error.
///
/// # Safety
/// `text` is null or a message that the shim has just returned.
unsafe fn checked(text: *mut c_char) -> Result<()> {
    if text.is_null() {
        return Ok(());
    }
    // SAFETY: By contract it is a C string of the shim, freed once.
    let message = unsafe {
        let message = CStr::from_ptr(text).to_string_lossy().into_owned();
        foil_program_free_text(text);
        message
    };
    Err(Error::new(message.trim()))
}

impl Program {
    /// Loads a file of `torch.jit.save`.
    ///
    /// # Errors
    /// libtorch's message if the file is not one.
    pub(crate) fn load(path: &Path, device: Device) -> Result<Self> {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(Error::of)?;
        let device = match device {
            Device::Cuda(n) => n as c_int,
            _ => -1,
        };
        let mut handle = std::ptr::null_mut();
        // SAFETY: The path is a C string, and `out` a place for the handle.
        unsafe { checked(foil_program_load(path.as_ptr(), device, &raw mut handle))? };
        Ok(Self(handle))
    }

    /// The number of slots.
    pub(crate) fn slots(&self) -> usize {
        // SAFETY: The handle is live.
        unsafe { foil_program_slots(self.0) }
    }

    /// A slot's `state_dict` name; `slot` < `slots()`, as below.
    pub(crate) fn name(&self, slot: usize) -> String {
        assert!(slot < self.slots());
        // SAFETY: The handle is live and the slot exists; the text lives as long as the handle.
        unsafe { CStr::from_ptr(foil_program_name(self.0, slot)) }.to_string_lossy().into_owned()
    }

    /// Whether it is a parameter that requires a gradient.
    pub(crate) fn trains(&self, slot: usize) -> bool {
        assert!(slot < self.slots());
        // SAFETY: The handle is live and the slot exists.
        unsafe { foil_program_trains(self.0, slot) }
    }

    /// The first slot that was loaded with the same tensor: `slot` itself, unless weights are
    /// shared.
    pub(crate) fn first(&self, slot: usize) -> usize {
        assert!(slot < self.slots());
        // SAFETY: The handle is live and the slot exists.
        unsafe { foil_program_first(self.0, slot) }
    }

    /// Whether `forward` draws random numbers.
    pub(crate) fn is_random(&self) -> bool {
        // SAFETY: The handle is live.
        unsafe { foil_program_is_random(self.0) }
    }

    /// What a slot holds, sharing its memory.
    pub(crate) fn get(&self, slot: usize) -> Result<Tensor> {
        assert!(slot < self.slots());
        let mut tensor = std::ptr::null_mut();
        // SAFETY: The handle is live and the slot exists; the tensor is new and ours.
        unsafe {
            checked(foil_program_get(self.0, slot, &raw mut tensor))?;
            Ok(Tensor::from_ptr(tensor.cast()))
        }
    }

    /// Puts a tensor into a slot.
    pub(crate) fn set(&self, slot: usize, tensor: &Tensor) -> Result<()> {
        assert!(slot < self.slots());
        // SAFETY: The handle is live and the slot exists; the shim takes a reference of its own to
        // the tensor. `Program` is not `Sync`, so no other call is in progress.
        unsafe { checked(foil_program_set(self.0, slot, tensor.as_ptr().cast())) }
    }

    /// `forward(xs)`, with every `training` flag set to `train`. The program may write into `xs`.
    pub(crate) fn forward(&self, train: bool, xs: &Tensor) -> Result<Tensor> {
        let mut out = std::ptr::null_mut();
        // SAFETY: The handle and the tensor are live; the result is new and ours.
        unsafe {
            checked(foil_program_forward(self.0, train, xs.as_ptr().cast(), &raw mut out))?;
            Ok(Tensor::from_ptr(out.cast()))
        }
    }
}
