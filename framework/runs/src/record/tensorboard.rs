//! Event files that TensorBoard reads: `tensorboard --logdir RUNS`.
//!
//! Scalars, images and hyper-parameters, in about three hundred lines rather than a dependency: of
//! the crates that write this format, `tensorboard-rs` 0.5.9 brings `image` 0.23 and `protobuf` 2,
//! `tboard` 0.1.1 brings `prost` 0.12, `anyhow` and `hostname`, and neither knows hyper-parameters.
//! `tests/scripts/check_tensorboard.py` reads a folder back with TensorBoard itself.
//!
//! `record` is the framing, `message` protobuf's encoding, `event` and `hparams` the messages,
//! [`Png`] an image, [`EventWriter`] the file.

mod event;
mod hparams;
mod message;
mod picture;
mod record;
mod writer;

pub use picture::Png;
pub use writer::EventWriter;
