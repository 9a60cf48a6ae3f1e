//! PyTorch in and out: published checkpoints become run folders, and runs become files that PyTorch
//! reads.
//!
//! [`Checkpoint`] reads a file without running anything in it, [`recognise()`] finds the model that
//! it belongs to, [`import()`] makes a run folder from both, or from a TorchScript program;
//! [`export`] does the reverse.

mod checkpoint;
mod container;
mod described;
pub mod export;
mod import;
mod names;
mod program;
mod recognise;
mod standard;
mod write;

pub use checkpoint::{Checkpoint, StateDict, StoredTensor};
pub use import::METHOD;
pub use import::{Imported, Request, import};
pub use recognise::{Fit, Known, recognise};
