//! The folder of the pipeline that is being read.
//!
//! A component is built with a [`Build`](super::Build), which knows the folder. A scheduler under
//! another plugin's key is built by whoever reads that key, so it takes the folder from here.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

thread_local! {
    /// Each copy of the framework has its own: components hand the folder to the copy that reads
    /// their settings.
    static FOLDER: RefCell<PathBuf> = RefCell::default();
}

/// Runs `work`, in which paths in what is read are relative to `folder`.
pub fn reading_in<T>(folder: &Path, work: impl FnOnce() -> T) -> T {
    struct Outer(PathBuf);
    impl Drop for Outer {
        fn drop(&mut self) {
            FOLDER.set(std::mem::take(&mut self.0));
        }
    }
    let _outer = Outer(FOLDER.replace(folder.to_path_buf()));
    work()
}

/// The folder; empty outside of [`reading_in`], which is the current one.
pub(super) fn folder() -> PathBuf {
    FOLDER.with_borrow(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_ends_with_what_is_read_in_it() {
        let inner = || reading_in(Path::new("b"), folder);
        let inside = reading_in(Path::new("a"), || (folder(), inner(), folder()));
        assert_eq!(inside, ("a".into(), "b".into(), "a".into()));
        let panics = std::panic::catch_unwind(|| reading_in(Path::new("a"), || panic!("while reading")));
        assert!(panics.is_err() && folder().as_os_str().is_empty());
    }
}
