//! The command line of foil, and its output: tables, reports, comparisons, figures.
//!
//! A program with plugins of its own is `fn main() -> ExitCode { foil_cli::main() }`. Nothing here
//! is needed to write a plugin, and the library does not depend on it: it reports to a
//! [`foil_runs::train::Observer`].

mod commands;
pub mod compare;
pub mod report;
pub mod theory;
pub mod watch;

#[doc(hidden)]
pub use commands::looked::{Looked, looked};
pub use commands::{called, main, run};
