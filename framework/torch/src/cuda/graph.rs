//! A captured sequence of kernels.

use super::{functions, wait};
use crate::Result;
use std::ffi::c_void;

/// A CUDA graph: kernels with the addresses they read and write, run again by [`Graph::replay`].
#[derive(Debug)]
pub struct Graph(*mut c_void);

impl Graph {
    /// Captures the operations that `work` enqueues on this thread's stream, which must not be the
    /// default one ([`super::own_stream`]). Nothing runs yet: the tensors that `work` returns are
    /// valid only after the first replay. Graphs that share memory with `pool` must be replayed one
    /// at a time, and running one overwrites another's results.
    ///
    /// # Errors
    /// What cannot be captured (such as reading a number), or what `work` reports.
    pub fn capture<T>(pool: Option<&Graph>, work: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        let f = functions()?;
        wait()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: `raw` outlives the call; `pool` is a live graph or null.
        f.check(unsafe { (f.graph_begin)(&raw mut raw, pool.map_or(std::ptr::null_mut(), |graph| graph.0)) })?;
        let graph = Self(raw);
        let made = crate::guard(work);
        // SAFETY: The graph is live, and its capture was begun on this thread.
        let ended = f.check(unsafe { (f.graph_end)(graph.0) });
        // An error inside explains why the capture could not be ended.
        let made = made?;
        ended?;
        Ok((graph, made))
    }

    /// Runs the captured kernels; it does not wait for them.
    ///
    /// # Errors
    /// What CUDA reports.
    pub fn replay(&self) -> Result<()> {
        let f = functions()?;
        // SAFETY: The graph is live and was captured whole.
        f.check(unsafe { (f.graph_replay)(self.0) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if let Ok(f) = functions() {
            // SAFETY: The graph is ours and is not used after this.
            unsafe { (f.graph_free)(self.0) }
        }
    }
}
