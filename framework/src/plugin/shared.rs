//! State shared by all copies of the framework in a process.

use crate::registry::{Table, linked};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock, RwLock};

/// The statics that must exist only once. Every other static of the framework is either constant
/// or harmless to have twice; docs/abi.md lists them.
pub(crate) struct Shared {
    /// All plugins, so that a library's settings find the program's plugins, and each other's.
    pub table: RwLock<Table>,
    /// A counter that gives each scheduled number an id, in whichever copy it was read: the clock
    /// keeps one scalar for each.
    pub numbers: AtomicU64,
    /// The threads whose operations libtorch computes by itself, one entry for each section
    /// ([`crate::nn::kernels::in_plain_form`]); and how many sections there are.
    pub plain: Mutex<Vec<u64>>,
    pub plain_sections: AtomicU64,
}

static SHARED: OnceLock<&'static Shared> = OnceLock::new();

/// The program's shared state, in every copy.
pub(crate) fn shared() -> &'static Shared {
    SHARED.get_or_init(|| {
        let table = linked().map(|entry| ((entry.kind(), entry.name()), entry)).collect();
        let shared = Shared {
            table: RwLock::new(table),
            numbers: AtomicU64::new(0),
            plain: Mutex::default(),
            plain_sections: AtomicU64::new(0),
        };
        Box::leak(Box::new(shared))
    })
}

/// Adopts the program's shared state, in a library that has just been loaded; false if this copy
/// already uses its own.
pub(super) fn adopt(program: &'static Shared) -> bool {
    SHARED.set(program).is_ok()
}
