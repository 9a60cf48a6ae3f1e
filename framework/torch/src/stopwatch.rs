//! Where a step's time goes, phase by phase; for `foil profile`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;
use tch::{Cuda, Device};

struct Watch {
    device: Device,
    last: Instant,
    /// Seconds by phase, in the order in which phases were first seen.
    order: Vec<&'static str>,
    spent: BTreeMap<&'static str, f64>,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Ends a phase of the step on this thread: the time since the last call is added to it. Does
/// nothing unless [`watched`] runs.
pub fn lap(phase: &'static str) {
    WATCH.with_borrow_mut(|watch| {
        let Some(watch) = watch else { return };
        if let Device::Cuda(n) = watch.device {
            Cuda::synchronize(n as i64);
        }
        let now = Instant::now();
        if !watch.spent.contains_key(phase) {
            watch.order.push(phase);
        }
        *watch.spent.entry(phase).or_default() += (now - watch.last).as_secs_f64();
        watch.last = now;
    });
}

/// Runs `work` on `device` and returns the seconds of each phase. On CUDA it waits for the device
/// after each.
pub fn watched<T>(device: Device, work: impl FnOnce() -> T) -> (T, Vec<(&'static str, f64)>) {
    let watch = Watch { device, last: Instant::now(), order: Vec::new(), spent: BTreeMap::new() };
    WATCH.set(Some(watch));
    let done = work();
    let laps = WATCH
        .take()
        .map_or_else(Vec::new, |watch| watch.order.iter().map(|phase| (*phase, watch.spent[phase])).collect());
    (done, laps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up_in_the_order_they_were_seen() {
        lap("unwatched");
        let ((), laps) = watched(Device::Cpu, || {
            for phase in ["a", "b", "a"] {
                std::thread::sleep(std::time::Duration::from_millis(2));
                lap(phase);
            }
        });
        assert_eq!(laps.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "b"]);
        assert!(laps[0].1 >= 0.004 && laps[1].1 >= 0.002, "{laps:?}");
        assert!(watched(Device::Cpu, || ()).1.is_empty());
    }
}
