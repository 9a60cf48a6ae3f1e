//! Sections of a thread in which libtorch's operators compute everything, because what they compute
//! will be differentiated twice: the kernels' gradients have none of their own.

#![allow(unsafe_code)]

use crate::plugin::shared;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Runs `work` without foil's kernels on this thread, in every copy of the framework.
pub(crate) fn in_plain_form<T>(work: impl FnOnce() -> T) -> T {
    struct Section;
    impl Drop for Section {
        fn drop(&mut self) {
            let mut threads = shared().plain.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = threads.iter().position(|thread| *thread == this_thread()) {
                threads.swap_remove(at);
            }
            shared().plain_sections.fetch_sub(1, Ordering::Relaxed);
        }
    }
    shared().plain.lock().unwrap_or_else(PoisonError::into_inner).push(this_thread());
    shared().plain_sections.fetch_add(1, Ordering::Relaxed);
    let _section = Section;
    work()
}

/// Whether this thread is in such a section.
pub(super) fn is_plain() -> bool {
    // A step asks at each operation, and hardly ever is any thread in one.
    shared().plain_sections.load(Ordering::Relaxed) > 0
        && shared().plain.lock().unwrap_or_else(PoisonError::into_inner).contains(&this_thread())
}

/// The same number in every copy of the framework, unlike `std::thread::current().id()`.
fn this_thread() -> u64 {
    // SAFETY: It takes nothing, and always succeeds.
    unsafe { libc::pthread_self() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_and_is_of_its_thread_alone() {
        let inside = || {
            assert!(is_plain());
            std::thread::scope(|scope| scope.spawn(|| assert!(!is_plain())).join()).unwrap();
            in_plain_form(|| assert!(is_plain()));
            assert!(is_plain());
        };
        assert!(!is_plain());
        in_plain_form(inside);
        assert!(!is_plain());
        let panics = std::panic::catch_unwind(|| in_plain_form(|| panic!("in a section")));
        assert!(panics.is_err() && !is_plain());
    }
}
