//! **`#[settings]`: a config struct whose every key is documented, defaulted and bounded in one
//! place.**
//!
//! ```ignore
//! /// Projected gradient descent inside a ball.
//! ///
//! /// Madry et al. 2018, arXiv:1706.06083.
//! #[settings]
//! pub struct Pgd {
//!     /// Radius of the ball.
//!     #[set(unit = "image", above = 0.0, range = ..=1.0)]
//!     pub eps: f64, // no default: required
//!     /// Number of steps.
//!     #[set(default = 10, range = 1..)]
//!     pub steps: u32,
//!     /// Where it starts.
//!     #[set(default = Start::Uniform)]
//!     pub start: Start,
//! }
//! ```
//!
//! One declaration feeds three readers: serde fills the struct, the JSON Schema lets `foil check`
//! and editors find every wrong key before anything runs, and the doc comments are the pages that
//! `foil explain` prints. That is why a missing doc comment does not compile.
//!
//! # Keys of `#[set(...)]`
//!
//! | key | means | in the schema |
//! |---|---|---|
//! | `default` | `Default::default()` when the key is left out | `default` |
//! | `default = EXPR` | `EXPR` when the key is left out (a string literal may fill a `String`) | `default` |
//! | `range = 0.0..=1.0` | bounds, as Rust writes them; `a..b` excludes `b`; either end may be open | `minimum`, `maximum` … |
//! | `above = 0.0` | an excluded lower bound, which no Rust range can say | `exclusiveMinimum` |
//! | `below = 1.0` | an excluded upper bound | `exclusiveMaximum` |
//! | `unit = "image"` | what the number is measured in; `image` is the [0, 1] scale that accepts `8/255` | `x-unit` |
//!
//! A key without `default` is required, unless its type is `Option`. A struct whose every key has a
//! default also gets `impl Default`, so that a section can be left out as a whole, with
//! `#[set(default)]`; deriving `Default` below the attribute takes precedence.
//!
//! Generated code names `::foil::__private::{serde, schemars}`, so a plugin crate depends on `foil`
//! and nothing else.

mod docs;
mod expand;
mod key;

use proc_macro::TokenStream;

/// Makes a struct or a choice (an enum of bare names) readable from a pipeline, with its schema and
/// its manual.
///
/// The crate page lists the keys of `#[set(...)]`. Other attributes, `#[serde(...)]` and
/// `#[schemars(...)]` among them, are passed on.
///
/// # Errors
/// Does not compile when the type, a field or a variant has no doc comment, when `#[set(...)]`
/// holds an unknown key, or for shapes that YAML has no plain form for: tuples, generics, enums
/// with data. All such places are reported at once.
#[proc_macro_attribute]
pub fn settings(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::settings(arguments.into(), item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}
