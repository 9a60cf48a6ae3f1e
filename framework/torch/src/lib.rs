//! The ground under foil: libtorch and CUDA, and what every crate above needs of the machine.
//!
//! | module | what it is for |
//! |---|---|
//! | [`error`] | one error type, with kinds; [`guard`] turns libtorch's exceptions into it |
//! | [`shim`] | what tch does not bind: autograd nodes, memory formats, the profiler |
//! | [`cuda`] | streams, graphs, NCCL and foil's kernels, opened only where there is CUDA |
//! | [`device`], [`cores`], [`memory`] | which devices there are, threads, memory |
//! | [`stopwatch`], [`Ceiling`] | where time goes, and the least it could be |
//! | [`program`] | the program that foil is part of |
//! | [`atomic`], [`regular`], [`hash`] | files that are whole, regular, and known by their SHA-256 |

pub mod atomic;
mod ceiling;
pub mod cores;
pub mod cuda;
pub mod device;
mod distinct;
pub mod error;
mod guard;
pub mod hash;
pub mod memory;
pub mod program;
pub mod regular;
pub mod shim;
pub mod stopwatch;

pub use ceiling::{Ceiling, wait};
pub use distinct::distinct;
pub use error::{AtPath, Error, Result};
pub use guard::{guard, raise};
