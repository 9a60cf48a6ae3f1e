//! What all copies of the framework in a process share.

use crate::registry::{Table, linked};
use std::sync::atomic::AtomicU64;
use std::sync::{OnceLock, RwLock};

/// The statics of which there may be only one. Every other static of the framework is either
/// constant or harmless to have twice; docs/abi.md goes through them.
pub(crate) struct Shared {
    /// All plugins, so that a library's settings find the program's plugins, and each other's.
    pub table: RwLock<Table>,
    /// Tells scheduled numbers apart, wherever they were read: the clock keeps one scalar for each.
    pub numbers: AtomicU64,
}

static SHARED: OnceLock<&'static Shared> = OnceLock::new();

/// The program's, in every copy.
pub(crate) fn shared() -> &'static Shared {
    SHARED.get_or_init(|| {
        let table = linked().map(|entry| ((entry.kind(), entry.name()), entry)).collect();
        Box::leak(Box::new(Shared { table: RwLock::new(table), numbers: AtomicU64::new(0) }))
    })
}

/// Takes over the program's, in a library that has just been loaded; false if it is in use already.
pub(super) fn adopt(program: &'static Shared) -> bool {
    SHARED.set(program).is_ok()
}
