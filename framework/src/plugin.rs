//! Plugins from libraries that are loaded at run time.
//!
//! A library is a plugin crate with [`export_plugin!`](crate::export_plugin) in it, built as a
//! `cdylib`. It is inspected as a file first: its record says how it was built, and a library that
//! was built differently from this program is refused before any of its code runs. A loaded library
//! is native code with all the program's rights; docs/abi.md says what is promised and what is not.
//!
//! - `record`: the handshake.  `library`: the file.  `lock`: `plugins.lock`.
//! - `export`: the library's side.  `load`: the program's.
//! - `across`: how calls, panics and errors cross. `shared`: the statics that there may be only one
//!   of.

pub(crate) mod across;
mod export;
mod library;
mod load;
mod lock;
mod record;
mod shared;

pub use across::Held;
pub use library::Library;
pub use load::{Loaded, load, load_listed, loaded, log_started, look};
pub use lock::{LOCK, Lock, Pin};
pub use record::{ABI, BUILT, ROWS, Record};
pub(crate) use shared::shared;
