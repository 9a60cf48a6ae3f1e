//! The library's side of loading: what `export_plugin!` exports.

use super::shared::{Shared, adopt};
use crate::guard;
use crate::registry::{Plugin, linked};
use crate::{Error, Result};
use std::any::TypeId;
use std::ffi::c_void;
use std::hash::{DefaultHasher, Hash, Hasher};
use tracing::Dispatch;

/// Makes a crate of plugins loadable at run time. One line in its `lib.rs`; with `crate-type =
/// ["cdylib", "rlib"]` cargo builds the library, and the same crate can still be linked into a
/// program.
///
/// Plugins of other crates that the library is linked with are not registered unless they are
/// named: `export_plugin!("foil-at", "foil-trades")`.
#[macro_export]
macro_rules! export_plugin {
    ($($package:literal),*) => {
        #[allow(unsafe_code)]
        const _: () = {
            #[used]
            // SAFETY: The name holds the crate's own, so that no two crates of a program export the
            // same.
            #[unsafe(export_name = concat!("foil_plugin_", env!("CARGO_CRATE_NAME")))]
            static RECORD: $crate::plugin::Record = $crate::plugin::Record::new(
                concat!(env!("CARGO_PKG_NAME") $(, ",", $package)*),
                env!("CARGO_PKG_VERSION"),
            );
        };
    };
}

/// What the program passes to a library once their records agree.
pub(super) struct Hello {
    pub shared: &'static Shared,
    /// The packages whose plugins to register.
    pub crates: Vec<String>,
}

/// The library's answer.
pub(super) struct Brought {
    pub entries: Vec<&'static Plugin>,
    /// Connects the library's log to the program's, if both have the same `tracing`.
    pub listen: fn(&Dispatch),
    pub tracing: u64,
}

/// The identity of `tracing`'s type that crosses: its version, its features and how it was built.
pub(super) fn tracing_id() -> u64 {
    let mut hasher = DefaultHasher::new();
    TypeId::of::<Dispatch>().hash(&mut hasher);
    hasher.finish()
}

/// Runs in the library's copy of the framework, once.
///
/// # Safety
/// `hello` points to a [`Hello`] of a framework whose record equals this one's. The answer is a
/// `Box<Result<Brought>>`.
#[allow(unsafe_code)]
pub(super) unsafe extern "C" fn start(hello: *const c_void) -> *mut c_void {
    // SAFETY: As the caller promises.
    let hello = unsafe { &*hello.cast::<Hello>() };
    let answer: Result<Brought> = guard(|| {
        if !adopt(hello.shared) {
            return Err(Error::new("it is loaded already"));
        }
        // The framework's own plugins are linked in too, and those of the crates that this one
        // uses.
        let entries = linked().filter(|plugin| hello.crates.iter().any(|name| name == plugin.source())).collect();
        Ok(Brought { entries, listen, tracing: tracing_id() })
    });
    Box::into_raw(Box::new(answer)).cast()
}

fn listen(dispatch: &Dispatch) {
    let _ = guard(|| {
        // Only the first call has an effect; a program sets up its log once.
        let _ = tracing::dispatcher::set_global_default(dispatch.clone());
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    });
}
