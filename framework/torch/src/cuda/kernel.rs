//! The launch of foil's own kernels (framework/cuda/kernels.cu), with arguments that are checked.
//!
//! [`super::kernels`] declares them; nothing else launches one.

use super::stand_in::{self, StandIn};
use super::{functions, warn_once};
use crate::shim::is_channels_last;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// Threads of a block; kernels rely on it.
pub const THREADS: u32 = 256;

/// Numbers that one thread handles at a time, where a kernel reads vectors.
pub const VECTOR: i64 = 8;

/// How many threads a kernel runs with, in blocks of [`THREADS`].
#[derive(Debug, Clone, Copy)]
pub enum Grid {
    /// At least this many, in blocks along x.
    Threads(i64),
    /// This many blocks along x and y.
    Blocks([i64; 2]),
}

/// The blocks of a launch along x and y, as the lengths of arguments depend on them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    pub x: i64,
    pub y: i64,
}

impl Grid {
    pub(super) fn blocks(self) -> Result<Blocks> {
        let [x, y] = match self {
            Grid::Threads(threads) => [threads.unsigned_abs().div_ceil(u64::from(THREADS)), 1],
            Grid::Blocks(blocks) => blocks.map(i64::unsigned_abs),
        };
        match (u32::try_from(x.max(1)), u16::try_from(y.max(1))) {
            (Ok(x), Ok(y)) => Ok(Blocks { x: x.into(), y: y.into() }),
            _ => Err(Error::new("a tensor is too large for one launch")),
        }
    }
}

/// What a kernel's pointer points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// The kind of a kernel with two forms, bf16 or fp32: the same for all of its pointers to `T`.
    T,
    Bf16,
    F32,
    F64,
    /// An `unsigned`; libtorch has no kind for it, and its `int` holds the same bits.
    U32,
    /// A C `long`.
    I64,
    U8,
}

/// A tensor that a kernel reads or writes, and what the kernel's declaration says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointer<'a> {
    /// `None` is a null pointer.
    pub tensor: Option<&'a Tensor>,
    pub element: Element,
    /// Whether it is read or written in vectors of [`VECTOR`] numbers, 16 bytes at a time.
    pub vectors: bool,
    /// Numbers that the kernel may touch, from the tensor's first one on.
    pub length: i64,
}

/// An argument of a launch.
#[derive(Debug, Clone, Copy)]
pub(super) enum Argument<'a> {
    Pointer(&'static str, Pointer<'a>),
    /// A C `long`.
    Long(i64),
    /// A C `int`.
    Int(i32),
    /// A C `float`.
    Float(f32),
    /// A C struct, word by word.
    Words(&'a [u64]),
}

impl Argument<'_> {
    /// Its type as a letter, for [`StandIn`].
    fn letter(&self) -> char {
        match self {
            Argument::Pointer(_, Pointer { tensor: None, .. }) => '?',
            Argument::Pointer(_, Pointer { tensor: Some(tensor), .. }) => match tensor.kind() {
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

impl Pointer<'_> {
    /// Why a kernel must not have `tensor` for this, with its `T` of this kind and its numbers
    /// where `reaches` says.
    fn objection(&self, tensor: &Tensor, generic: Kind, reaches: impl Fn(Device) -> bool) -> Option<String> {
        let kind = match self.element {
            Element::T => generic,
            Element::Bf16 => Kind::BFloat16,
            Element::F32 => Kind::Float,
            Element::F64 => Kind::Double,
            Element::U32 => Kind::Int,
            Element::I64 => Kind::Int64,
            Element::U8 => Kind::Uint8,
        };
        let numel = tensor.numel() as i64;
        if !reaches(tensor.device()) {
            return Some(format!("is on {:?}", tensor.device()));
        }
        if tensor.kind() != kind {
            return Some(format!("is of {:?}, not of {kind:?}", tensor.kind()));
        }
        if !(0..=numel).contains(&self.length) {
            return Some(format!("has {numel} numbers, not {}", self.length));
        }
        if !tensor.is_contiguous() && !is_channels_last(tensor) {
            return Some("has gaps".to_string());
        }
        let is_aligned = (tensor.data_ptr() as usize).is_multiple_of(16);
        (self.vectors && (self.length % VECTOR != 0 || !is_aligned)).then(|| "is not made of whole vectors".to_string())
    }
}

/// The names that a kernel may have: without a `T`, with `T` bf16, and with `T` fp32.
pub(super) type Names = [&'static str; 3];

/// Runs a kernel on this thread's stream.
///
/// # Errors
/// When an argument is not what `arguments` says of it, as [`super::usable`], when the device is
/// too old for it, or what CUDA reports.
///
/// # Safety
/// `arguments` are those of the kernel's declaration in kernels.cu, in order and type. In a launch
/// of this many `blocks` it touches no more numbers of each than its length, and of what has no
/// length only what belongs to it.
pub(super) unsafe fn launch(names: Names, blocks: Blocks, arguments: &[Argument]) -> Result<()> {
    let generic = arguments.iter().find_map(|argument| match argument {
        Argument::Pointer(_, Pointer { tensor: Some(tensor), element: Element::T, .. }) => Some(tensor.kind()),
        _ => None,
    });
    let name = match generic {
        None => names[0],
        Some(Kind::BFloat16) => names[1],
        Some(_) => names[2],
    };
    let kernel = Kernel::named(name)?;
    for argument in arguments {
        let Argument::Pointer(called, pointer @ Pointer { tensor: Some(tensor), .. }) = argument else { continue };
        if let Some(why) = pointer.objection(tensor, generic.unwrap_or(Kind::Float), |device| kernel.reaches(device)) {
            return kernel.failed(Error::new(format!("the kernel `{name}` was given a `{called}` that {why}")));
        }
    }
    // Each value in eight bytes of its own; CUDA reads as many of them as the declaration says
    // (little-endian).
    let value = |argument: &Argument| match *argument {
        Argument::Pointer(_, Pointer { tensor, .. }) => tensor.map_or(0, |tensor| tensor.data_ptr() as u64),
        Argument::Long(value) => value as u64,
        Argument::Int(value) => u64::from(value as u32),
        Argument::Float(value) => u64::from(value.to_bits()),
        // Only its address is passed on, below.
        Argument::Words(_) => 0,
    };
    let mut values: Vec<u64> = arguments.iter().map(value).collect();
    let pointer = |(value, argument): (&mut u64, &Argument)| match argument {
        // The callee only reads.
        Argument::Words(words) => words.as_ptr().cast_mut().cast(),
        _ => (value as *mut u64).cast(),
    };
    let mut pointers: Vec<*mut c_void> = values.iter_mut().zip(arguments).map(pointer).collect();
    let (pointers, blocks) = (pointers.as_mut_ptr(), [blocks.x as u32, blocks.y as u32]);
    match kernel.place {
        Place::Cuda(raw) => {
            let f = functions()?;
            // SAFETY: By this function's contract, and what is checked above: the tensors have the
            // kinds and at least the lengths that the kernel needs, on a device that it can read.
            // The values are copied before the call returns.
            warn_once(f.check(unsafe { (f.launch)(raw, blocks[0], blocks[1], THREADS, pointers) }))
        }
        Place::StandIn(stand_in) => {
            let letters: String = arguments.iter().map(Argument::letter).collect();
            // SAFETY: As above; the tensors are the CPU's.
            let ran = unsafe { (stand_in.launch)(name, &letters, blocks, THREADS, pointers) };
            ran.or_else(|error| kernel.failed(Error::new(error)))
        }
    }
}

/// A kernel that can be launched.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Cuda(*mut c_void),
    StandIn(StandIn),
}

// SAFETY: A kernel is a handle that CUDA lets any thread use; it is never destroyed.
unsafe impl Send for Kernel {}

impl Kernel {
    /// The kernel called `name`, for the current device. Devices that foil has no machine code for
    /// compile it on first use.
    fn named(name: &'static str) -> Result<Self> {
        if let Some(stand_in) = stand_in::current() {
            return Ok(Kernel { place: Place::StandIn(stand_in) });
        }
        static KNOWN: Mutex<BTreeMap<&'static str, Kernel>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = known.get(name) {
            return Ok(*kernel);
        }
        let f = functions()?;
        let text = CString::new(name).map_err(Error::of)?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: The name is a C string, and both outlive the call.
        warn_once(f.check(unsafe { (f.kernel)(&raw mut raw, text.as_ptr()) }))?;
        let kernel = Kernel { place: Place::Cuda(raw) };
        known.insert(name, kernel);
        Ok(kernel)
    }

    fn reaches(self, device: Device) -> bool {
        match self.place {
            Place::Cuda(_) => matches!(device, Device::Cuda(_)),
            Place::StandIn(_) => device == Device::Cpu,
        }
    }

    /// A launch that failed: libtorch's operators take over, and a warning says so. A test fails.
    fn failed(self, error: Error) -> Result<()> {
        match self.place {
            Place::Cuda(_) => warn_once(Err(error)),
            Place::StandIn(_) => panic!("{error}"),
        }
    }
}
