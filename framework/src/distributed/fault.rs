//! When a rank fails, all others end too, and one of them reports which it was.
//!
//! A rank with an error of its own leaves a note and closes its connections, so that the others'
//! sums fail at once. The others leave a note that they are alive, close theirs, and check who is
//! missing: a rank that was killed, hangs or has lost its network leaves no note.

use super::world::{Joined, World};
use crate::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait for notes: longer than ranks take to notice that another rank has closed its
/// connections.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for a rank that failed by itself and only asks whether others did too.
const BRIEFLY: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(20);
const BEAT: Duration = Duration::from_secs(1);

/// A rank's last note.
enum Note {
    /// It failed by itself, with this error.
    Failed(String),
    /// It ended because another one was lost.
    Ended,
}

impl World {
    /// Rewrites this rank's `error` to say which rank caused it. Leaves the other ranks; only the
    /// first call does anything.
    pub fn explain(&self, error: Error) -> Error {
        let Some(joined) = self.joined() else { return error };
        if joined.explained.swap(true, Ordering::Relaxed) {
            return error;
        }
        let known = joined.reason.get().cloned();
        let (rank, mine) = (self.rank(), known.unwrap_or_else(|| error.message().to_string()));
        let lost = joined.broken.load(Ordering::Relaxed);
        let note = if lost { "ended".to_string() } else { format!("failed {mine}") };
        // If the store is gone too, no one can be notified.
        let _ = joined.transport.post(&fault(rank), &note);
        joined.transport.leave();
        // If several ranks fail by themselves at the same step, the lowest one reports it.
        let call = joined.roll_call(if lost || rank == 0 { PATIENCE } else { BRIEFLY });
        joined.take_leave();
        let speaker = |(other, note): (&usize, &Note)| *other < rank && (lost || note.failed());
        let reported = lost && call.notes.values().any(Note::failed);
        // A lower rank that is alive but has not noticed yet will report it when it does.
        let will_tell = lost && call.beating.iter().any(|other| *other < rank);
        joined.silent.store(reported || will_tell || call.notes.iter().any(speaker), Ordering::Relaxed);
        match lost {
            true => self.blame(&call, &mine),
            false if mine.starts_with("rank ") => error,
            false => error.context(self.name_of(rank)),
        }
    }

    /// Finds the rank that caused a sum to fail here with the message `mine`.
    fn blame(&self, call: &RollCall, mine: &str) -> Error {
        if let Some((&other, Note::Failed(why))) = call.notes.iter().find(|(_, note)| note.failed()) {
            return Error::new(format!("{} failed: {why}", self.name_of(other)));
        }
        let gone =
            |rank: &usize| *rank != self.rank() && !call.notes.contains_key(rank) && !call.beating.contains(rank);
        let gone: Vec<usize> = if call.store { (0..self.size()).filter(gone).collect() } else { vec![0] };
        let names: Vec<String> = gone.into_iter().map(|rank| self.name_of(rank)).collect();
        let why = mine.lines().next().unwrap_or_default();
        match names.as_slice() {
            [] => Error::new(format!("the ranks lost contact, though all are alive: {why}"))
                .help("a rank is slower than FOIL_TIMEOUT allows, or the network between them failed"),
            names => Error::new(format!("{} stopped answering: {why}", names.join(", ")))
                .help("it was killed, ran out of memory or hangs, or its machine or network is down"),
        }
    }

    /// Whether [`World::explain`] was called.
    pub fn is_explained(&self) -> bool {
        self.joined().is_some_and(|joined| joined.explained.load(Ordering::Relaxed))
    }

    /// Whether another rank reports this rank's error to the user.
    pub fn is_silent(&self) -> bool {
        self.joined().is_some_and(|joined| joined.silent.load(Ordering::Relaxed))
    }

    /// `rank 3 on node-b`.
    pub fn name_of(&self, rank: usize) -> String {
        let host = self.joined().and_then(|joined| joined.hosts.get()?.get(rank).cloned());
        host.map_or(format!("rank {rank}"), |host| format!("rank {rank} on {host}"))
    }
}

impl Note {
    fn failed(&self) -> bool {
        matches!(self, Note::Failed(_))
    }
}

/// The ranks that answered after a fault.
#[derive(Default)]
struct RollCall {
    notes: BTreeMap<usize, Note>,
    /// Ranks that are alive but left no note.
    beating: BTreeSet<usize>,
    /// Whether the store, which rank 0 or torchrun keeps, still answers.
    store: bool,
}

impl Joined {
    /// Starts a heartbeat, every second: a process that is stopped or dead has none.
    pub(super) fn beat(&'static self) {
        let beat = move || {
            for n in 0u64.. {
                if self.transport.post(&heartbeat_key(self.launch.rank), &n.to_string()).is_err() {
                    return;
                }
                sleep(BEAT);
            }
        };
        // Without it a message may report a slow rank as dead.
        let _ = std::thread::Builder::new().name("heartbeat".into()).spawn(beat);
    }

    /// Whether a rank has left a note that it is ending.
    pub(super) fn has_failed(&self, rank: usize) -> bool {
        matches!(self.transport.posted(&fault(rank)), Ok(Some(_)))
    }

    /// Whether any other rank has.
    pub(super) fn another_failed(&self) -> bool {
        (0..self.launch.size).any(|rank| rank != self.launch.rank && self.has_failed(rank))
    }

    /// A rank's last heartbeat.
    pub(super) fn heartbeat_of(&self, rank: usize) -> Option<String> {
        self.transport.posted(&heartbeat_key(rank)).ok().flatten()
    }

    /// Collects the notes of all other ranks, as far as they come within `patience`.
    fn roll_call(&self, patience: Duration) -> RollCall {
        let mut call = RollCall { store: true, ..RollCall::default() };
        let others: Vec<usize> = (0..self.launch.size).filter(|&rank| rank != self.launch.rank).collect();
        let heartbeats = || others.iter().map(|&rank| self.heartbeat_of(rank)).collect::<Vec<_>>();
        let (before, started) = (heartbeats(), Instant::now());
        while call.notes.len() < others.len() && started.elapsed() < patience {
            for &rank in &others {
                match self.transport.posted(&fault(rank)) {
                    Ok(Some(note)) => {
                        let note =
                            note.strip_prefix("failed ").map_or(Note::Ended, |why| Note::Failed(why.to_string()));
                        call.notes.insert(rank, note);
                    }
                    Ok(None) => {}
                    Err(_) => return RollCall { store: false, ..call },
                }
            }
            sleep(LOOK);
        }
        let moved = others.iter().zip(before.iter().zip(heartbeats())).filter(|(_, (before, now))| *before != now);
        call.beating = moved.map(|(&rank, _)| rank).collect();
        call
    }

    /// Notes that this rank has read all it needs; rank 0, which serves the store, waits for the
    /// others to do so.
    fn take_leave(&self) {
        let read = |rank: usize| format!("read/{rank}");
        let _ = self.transport.post(&read(self.launch.rank), "");
        if self.launch.rank > 0 {
            return;
        }
        let started = Instant::now();
        let reads = |rank: usize| self.has_failed(rank) && matches!(self.transport.posted(&read(rank)), Ok(None));
        while (1..self.launch.size).any(reads) && started.elapsed() < PATIENCE {
            sleep(LOOK);
        }
    }
}

fn fault(rank: usize) -> String {
    format!("fault/{rank}")
}

fn heartbeat_key(rank: usize) -> String {
    format!("heartbeat/{rank}")
}
