//! Event files that TensorBoard reads: `tensorboard --logdir RUNS`.
//!
//! Scalars only, and so about a hundred lines rather than a dependency: of the crates that write
//! this format, `tensorboard-rs` 0.5.9 brings `image` 0.23 and `protobuf` 2, and `tboard` 0.1.1
//! brings `prost` 0.12, `anyhow` and `hostname`. `tests/scripts/check_tensorboard.py` reads a
//! folder back with TensorBoard itself.
//!
//! `record` is the framing, `event` the few protobuf fields, [`EventWriter`] the file.

mod event;
mod record;
mod writer;

pub use writer::EventWriter;
