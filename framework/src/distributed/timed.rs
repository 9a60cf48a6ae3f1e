//! A transport that measures the time its rank spends in it.

use super::collective::{Collective, Pending};
use crate::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tch::Tensor;

/// Another transport, and the time spent in its sums and broadcasts: it reads the clock twice for
/// each.
pub(super) struct Timed {
    inner: Box<dyn Collective>,
    nanoseconds: Arc<AtomicU64>,
}

impl Timed {
    pub(super) fn new(inner: Box<dyn Collective>) -> Self {
        Self { inner, nanoseconds: Arc::default() }
    }
}

fn timed<T>(nanoseconds: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let made = work();
    nanoseconds.fetch_add(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    made
}

struct TimedPending {
    inner: Box<dyn Pending>,
    nanoseconds: Arc<AtomicU64>,
}

impl Pending for TimedPending {
    fn wait(self: Box<Self>) -> Result<()> {
        let Self { inner, nanoseconds } = *self;
        timed(&nanoseconds, || inner.wait())
    }
}

impl Collective for Timed {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn start_sum(&self, tensor: &Tensor) -> Result<Box<dyn Pending>> {
        let inner = timed(&self.nanoseconds, || self.inner.start_sum(tensor))?;
        Ok(Box::new(TimedPending { inner, nanoseconds: Arc::clone(&self.nanoseconds) }))
    }

    fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        timed(&self.nanoseconds, || self.inner.broadcast(tensor))
    }

    fn spent(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    fn leave(&self) {
        self.inner.leave();
    }

    fn finish(&self) {
        self.inner.finish();
    }

    fn post(&self, key: &str, note: &str) -> Result<()> {
        self.inner.post(key, note)
    }

    fn posted(&self, key: &str) -> Result<Option<String>> {
        self.inner.posted(key)
    }
}
