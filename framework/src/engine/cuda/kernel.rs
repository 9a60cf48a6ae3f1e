//! foil's own kernels (framework/cuda/kernels.cu), by name.

use super::stand_in::{self, StandIn};
use super::{functions, told};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// Threads of a block; kernels rely on it.
pub(crate) const THREADS: u32 = 256;

/// A kernel's argument.
#[derive(Debug, Clone, Copy)]
pub enum Argument<'a> {
    /// A tensor's data, or null.
    Numbers(Option<&'a Tensor>),
    /// A C `long`.
    Long(i64),
    /// A C `int`.
    Int(i32),
    /// A C `float`.
    Float(f32),
    /// A C struct of this many words.
    Words(&'a [u64]),
}

impl<'a> From<&'a Tensor> for Argument<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Argument::Numbers(Some(tensor))
    }
}

impl<'a> From<Option<&'a Tensor>> for Argument<'a> {
    fn from(tensor: Option<&'a Tensor>) -> Self {
        Argument::Numbers(tensor)
    }
}

impl From<i64> for Argument<'_> {
    fn from(long: i64) -> Self {
        Argument::Long(long)
    }
}

impl From<i32> for Argument<'_> {
    fn from(int: i32) -> Self {
        Argument::Int(int)
    }
}

impl From<f32> for Argument<'_> {
    fn from(float: f32) -> Self {
        Argument::Float(float)
    }
}

/// A kernel's arguments in order: tensors, perhaps none, and numbers as C has them, an `i64` for a
/// `long`, an `i32` for an `int`.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { [$($crate::engine::cuda::Argument::from($argument)),*] };
}
pub(crate) use arguments;

impl Argument<'_> {
    /// Its type as a letter, for [`StandIn`].
    fn letter(&self) -> char {
        match self {
            Argument::Numbers(None) => '?',
            Argument::Numbers(Some(tensor)) => match tensor.kind() {
                Kind::BFloat16 => 'B',
                Kind::Float => 'F',
                Kind::Double => 'D',
                _ => 'U',
            },
            Argument::Long(_) => 'l',
            Argument::Int(_) => 'i',
            Argument::Float(_) => 'f',
            Argument::Words(_) => 'w',
        }
    }
}

/// The number of threads of a launch, in blocks of 256.
#[derive(Debug, Clone, Copy)]
pub enum Grid {
    /// At least one thread for each of this many items.
    Each(i64),
    /// This many blocks along x and y.
    Blocks([i64; 2]),
}

impl Grid {
    fn blocks(self) -> Result<[u32; 2]> {
        let [x, y] = match self {
            Grid::Each(threads) => [threads.unsigned_abs().div_ceil(u64::from(THREADS)), 1],
            Grid::Blocks(blocks) => blocks.map(i64::unsigned_abs),
        };
        match (u32::try_from(x.max(1)), u16::try_from(y.max(1))) {
            (Ok(x), Ok(y)) => Ok([x, y.into()]),
            _ => Err(Error::new("a tensor is too large for one launch")),
        }
    }
}

/// A compiled kernel.
#[derive(Debug, Clone, Copy)]
pub struct Kernel(Of);

#[derive(Debug, Clone, Copy)]
enum Of {
    Cuda(*mut c_void),
    StandIn(StandIn, &'static str),
}

// # Safety
// A kernel is a handle that CUDA lets any thread use; it is never destroyed.
unsafe impl Send for Kernel {}

impl Kernel {
    /// The kernel called `name`; it is loaded on first use. Devices newer than those it was
    /// compiled for compile its PTX then.
    ///
    /// # Errors
    /// As [`super::usable`], or when the device is too old for it.
    pub fn named(name: &'static str) -> Result<Self> {
        if let Some(stand_in) = stand_in::current() {
            return Ok(Kernel(Of::StandIn(stand_in, name)));
        }
        static KNOWN: Mutex<BTreeMap<&'static str, Kernel>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = known.get(name) {
            return Ok(*kernel);
        }
        let f = functions()?;
        let text = CString::new(name).map_err(Error::of)?;
        let mut raw = std::ptr::null_mut();
        // # Safety
        // The name is a C string, and both outlive the call.
        told(f.check(unsafe { (f.kernel)(&raw mut raw, text.as_ptr()) }))?;
        known.insert(name, Kernel(Of::Cuda(raw)));
        Ok(Kernel(Of::Cuda(raw)))
    }

    /// Runs it on this thread's stream.
    ///
    /// # Safety
    /// `arguments` are those of the kernel's declaration, in order and type; every tensor is on
    /// this thread's current device, contiguous in the order the kernel expects, of the kind it
    /// expects, and holds as many numbers as the kernel touches.
    ///
    /// # Errors
    /// When a tensor is not on CUDA, or what CUDA reports.
    pub unsafe fn launch(self, grid: Grid, arguments: &[Argument]) -> Result<()> {
        let [x, y] = grid.blocks()?;
        // Each value takes eight bytes; CUDA reads as many of them as the declaration says
        // (little-endian).
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(match *argument {
                Argument::Numbers(None) => 0u64,
                Argument::Numbers(Some(tensor)) if self.reaches(tensor.device()) => tensor.data_ptr() as u64,
                Argument::Numbers(Some(tensor)) => {
                    return Err(Error::new(format!("a kernel was given a tensor on {:?}", tensor.device())));
                }
                Argument::Long(value) => value as u64,
                Argument::Int(value) => u64::from(value as u32),
                Argument::Float(value) => u64::from(value.to_bits()),
                // Only its address is passed on, below.
                Argument::Words(_) => 0,
            });
        }
        let pointer = |(value, argument): (&mut u64, &Argument)| match argument {
            // The callee only reads.
            Argument::Words(words) => words.as_ptr().cast_mut().cast(),
            _ => (value as *mut u64).cast(),
        };
        let mut pointers: Vec<*mut c_void> = values.iter_mut().zip(arguments).map(pointer).collect();
        let pointers = pointers.as_mut_ptr();
        // # Safety
        // By this function's contract; the values are copied before the call returns.
        match self.0 {
            Of::Cuda(raw) => {
                let f = functions()?;
                told(f.check(unsafe { (f.launch)(raw, x, y, THREADS, pointers) }))
            }
            Of::StandIn(stand_in, name) => {
                let letters: String = arguments.iter().map(Argument::letter).collect();
                unsafe { (stand_in.launch)(name, &letters, [x, y], THREADS, pointers) }
                    .unwrap_or_else(|error| panic!("{error}"));
                Ok(())
            }
        }
    }

    fn reaches(self, device: Device) -> bool {
        match self.0 {
            Of::Cuda(_) => matches!(device, Device::Cuda(_)),
            Of::StandIn(..) => device == Device::Cpu,
        }
    }
}
