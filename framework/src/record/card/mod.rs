//! The model card: what a stored model is, how it was made and what it reached.
//!
//! It travels inside the model's safetensors file, in the header's string map, so a model cannot be parted from it.
//! Each field is a key `foil.FIELD`; texts are stored as they are, everything else as JSON. Other keys are left alone.

mod fields;
mod page;

pub use fields::{CardError, ModelCard};
