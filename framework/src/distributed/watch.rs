//! Sums between devices have no end of their own: a rank that is lost leaves the others' devices
//! waiting, and their hosts with them.
//!
//! So a thread of each rank looks, every second, whether its device gets on and whether the next
//! rank lives. Who finds a fault tells all, and each ends what its device waits for. Its training
//! thread then continues, finds the world broken and ends as after any fault; where it does not
//! come back, the watching thread ends the process in its place.

#![allow(unsafe_code)]

use super::collective::OnDevice;
use super::world::{Joined, World};
use crate::Error;
use std::sync::atomic::Ordering;
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_secs(1);
/// A process that beats every second and was silent for so long does not live.
const SILENCE: Duration = Duration::from_secs(10);
/// So long the training thread may take to come back from its device.
const GRACE: Duration = Duration::from_secs(20);
/// The note by which a rank tells all others of a fault.
const ALARM: &str = "alarm";

impl Joined {
    /// Begins to watch the device.
    pub(super) fn watch(&'static self, device: &'static dyn OnDevice) {
        let watching = move || {
            let mut next = Neighbour::of(self);
            while !self.is_over() {
                sleep(LOOK);
                if let Some(why) = self.fault(device, &mut next).filter(|_| !self.is_over()) {
                    return self.give_up(device, &why);
                }
            }
        };
        // Without it a lost rank is noticed where hosts talk to each other, before each step.
        let _ = Builder::new().name("watch".into()).spawn(watching);
    }

    /// Whether nothing more is to be watched: this rank has ended, well or not.
    fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) || self.explained.load(Ordering::Relaxed)
    }

    /// What is wrong, if something is.
    fn fault(&self, device: &dyn OnDevice, next: &mut Neighbour) -> Option<String> {
        match device.waits() {
            Err(error) => return Some(error.message().to_string()),
            Ok(waited) if waited > self.launch.timeout => {
                return Some(format!("the device has waited {} s for the others", waited.as_secs()));
            }
            Ok(_) => {}
        }
        match self.transport.posted(ALARM) {
            Ok(alarm) => alarm.or_else(|| next.fault(self)),
            Err(_) => Some("the store that the ranks share is gone".into()),
        }
    }

    /// Breaks the world, and lets the device and the training thread continue.
    fn give_up(&'static self, device: &'static dyn OnDevice, why: &str) {
        let _ = self.reason.set(why.to_string());
        self.broken.store(true, Ordering::Relaxed);
        // Where the store is gone the others see that themselves.
        let _ = self.transport.post(ALARM, why);
        let _ = Builder::new().name("abort".into()).spawn(move || device.abort());
        let started = Instant::now();
        while !self.is_over() {
            if started.elapsed() > GRACE {
                end(World::of(self), why);
            }
            sleep(LOOK / 10);
        }
    }
}

/// Ends a process whose training thread hangs in a device.
fn end(world: World, why: &str) -> ! {
    let error = world.explain(Error::new(why));
    if !world.is_silent() {
        eprintln!("{error}");
    }
    // SAFETY: Ends the process at once; nothing is left to write, and what runs at an orderly end
    // would wait for the device.
    unsafe { libc::_exit(1) }
}

/// The rank whose signs of life this one looks at: all look at one, and all are looked at.
struct Neighbour {
    rank: usize,
    heartbeat: Option<String>,
    beat: Instant,
}

impl Neighbour {
    fn of(joined: &Joined) -> Self {
        Self { rank: (joined.launch.rank + 1) % joined.launch.size.max(1), heartbeat: None, beat: Instant::now() }
    }

    /// Whether it has failed, or is silent.
    fn fault(&mut self, joined: &Joined) -> Option<String> {
        if self.rank == joined.launch.rank {
            return None;
        }
        if joined.has_failed(self.rank) {
            return Some(format!("rank {} has failed", self.rank));
        }
        let heartbeat = joined.heartbeat_of(self.rank);
        if heartbeat != self.heartbeat {
            (self.heartbeat, self.beat) = (heartbeat, Instant::now());
        }
        let silent = self.beat.elapsed();
        (silent > SILENCE).then(|| format!("no sign of life from rank {} for {} s", self.rank, silent.as_secs()))
    }
}
