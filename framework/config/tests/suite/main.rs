//! Whole loads against a small pipeline and catalog that are made as foil makes its own.
//!
//! - `pipeline`: that pipeline and its plugins.
//! - `errors`: every `tests/errors/*.yaml` with the `*.stderr` a user would see; `UPDATE_EXPECT=1`
//!   rewrites them.
//! - `forms`: a name over a map and a map over a name.
//! - `keyed`: keys that depend on the text under another key.
//! - `normal_form`: what comes out of a right pipeline, and that it is a fixed point.
//! - `places`: problems that the caller adds find their line.
//! - `row`: a list of radii is one attack for each.
//! - `hostile`: arbitrary bytes, mutated pipelines and `tests/corpus` neither panic nor take long.

extern crate self as foil;

mod errors;
mod forms;
mod hostile;
mod keyed;
mod normal_form;
mod pipeline;
mod places;
mod row;

/// What code from `#[settings]` names.
#[doc(hidden)]
pub mod __private {
    pub use {schemars, serde};
}
