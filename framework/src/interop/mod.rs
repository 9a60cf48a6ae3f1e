//! PyTorch in and out: published checkpoints become run folders, and runs become files that PyTorch reads.
//!
//! [`Checkpoint`] reads a file without running anything in it, [`recognise()`] finds the model that it belongs to, [`import()`]
//! makes a run folder of both; [`export`] goes the other way.

mod checkpoint;
mod container;
pub mod export;
mod import;
mod pickle;
mod recognise;
mod write;

pub use checkpoint::{Checkpoint, Entry, StateDict};
pub(crate) use import::METHOD;
pub use import::{Imported, Request, import};
pub use recognise::{Fit, Hint, Known, Shapes, recognise};
