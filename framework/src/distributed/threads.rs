//! Transports between threads of one process, for tests: one in place of Gloo, and one in place of
//! NCCL.

use super::collective::{Collective, OnDevice, Opener, Pending};
use super::launch::Launch;
use super::share::share;
use super::transport::Transport;
use super::world::World;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tch::{Device, Tensor};

/// A meeting point where each rank gives a tensor and takes all of them.
struct Hall {
    round: Mutex<Round>,
    moved: Condvar,
}

struct Round {
    given: Vec<Option<Tensor>>,
    taken: usize,
    /// Ranks that have left.
    gone: Vec<bool>,
}

impl Hall {
    fn of(size: usize) -> Arc<Self> {
        let given = (0..size).map(|_| None).collect();
        Arc::new(Self { round: Mutex::new(Round { given, taken: 0, gone: vec![false; size] }), moved: Condvar::new() })
    }

    /// The tensors of all ranks, in order; `None` if this rank has left.
    fn exchange(&self, rank: usize, tensor: &Tensor) -> Option<Vec<Tensor>> {
        let mut round = self.round.lock().unwrap();
        round = self.moved.wait_while(round, |round| round.given[rank].is_some() && !round.gone[rank]).unwrap();
        round.given[rank] = Some(tensor.copy());
        self.moved.notify_all();
        let lacks = |round: &Round| round.given.iter().any(Option::is_none);
        round = self.moved.wait_while(round, |round| lacks(round) && !round.gone[rank]).unwrap();
        if lacks(&round) {
            return None;
        }
        let all = round.given.iter().flatten().map(Tensor::copy).collect();
        round.taken += 1;
        if round.taken == round.given.len() {
            round.taken = 0;
            round.given.fill_with(|| None);
            self.moved.notify_all();
        }
        Some(all)
    }

    fn go(&self, ranks: impl Iterator<Item = usize>) {
        let mut round = self.round.lock().unwrap();
        ranks.for_each(|rank| round.gone[rank] = true);
        self.moved.notify_all();
    }
}

fn sum(all: Vec<Tensor>) -> Tensor {
    all.into_iter().reduce(|a, b| a + b).unwrap()
}

struct Threads {
    rank: usize,
    hall: Arc<Hall>,
    notes: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Threads {
    fn exchange(&self, tensor: &Tensor) -> Result<Vec<Tensor>> {
        self.hall.exchange(self.rank, tensor).ok_or_else(|| Error::new("a rank has left"))
    }
}

struct Done;

impl Pending for Done {
    fn wait(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Collective for Threads {
    fn name(&self) -> &'static str {
        "threads"
    }

    fn start_sum(&self, tensor: &Tensor) -> Result<Box<dyn Pending>> {
        tensor.shallow_clone().copy_(&sum(self.exchange(tensor)?));
        Ok(Box::new(Done))
    }

    fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        tensor.shallow_clone().copy_(&self.exchange(tensor)?[0]);
        Ok(())
    }

    fn leave(&self) {
        let size = self.hall.round.lock().unwrap().gone.len();
        self.hall.go(0..size);
    }

    fn post(&self, key: &str, note: &str) -> Result<()> {
        self.notes.lock().unwrap().insert(key.into(), note.into());
        Ok(())
    }

    fn posted(&self, key: &str) -> Result<Option<String>> {
        Ok(self.notes.lock().unwrap().get(key).cloned())
    }
}

/// The behaviour of one rank's stand-in for NCCL, and its record.
#[derive(Default)]
pub(crate) struct Fake {
    /// Why it is not available.
    pub obstacle: Option<&'static str>,
    /// The error when it is opened.
    pub refuses: Option<&'static str>,
    /// Whether opening waits for a rank that never connects.
    pub waits_to_open: bool,
    pub sums: AtomicUsize,
    pub broadcasts: AtomicUsize,
    pub opened: AtomicBool,
    pub aborted: AtomicBool,
    /// Whether the device reports that it has failed.
    pub failed: AtomicBool,
}

/// Opens the stand-in, for tensors on the CPU.
struct FakeOpener {
    fake: Arc<Fake>,
    hall: Arc<Hall>,
}

/// The stand-in. As with NCCL, a lost rank leaves the others waiting, and a rank that aborts keeps
/// its old data.
struct FakeDevice {
    fake: Arc<Fake>,
    hall: Arc<Hall>,
    rank: usize,
}

impl Opener for FakeOpener {
    fn takes(&self, device: Device) -> bool {
        device == Device::Cpu
    }

    fn obstacle(&self, _: Device) -> Option<String> {
        self.fake.obstacle.map(Into::into)
    }

    fn invitation(&self) -> Result<[u8; 128]> {
        Ok(std::array::from_fn(|i| i as u8 + 1))
    }

    fn open(&self, invitation: [u8; 128], rank: usize, _: usize, _: Device) -> Result<Box<dyn OnDevice>> {
        assert_eq!(invitation, self.invitation()?);
        if let Some(why) = self.fake.refuses {
            return Err(Error::new(why));
        }
        if self.fake.waits_to_open {
            loop {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        self.fake.opened.store(true, Ordering::Relaxed);
        Ok(Box::new(FakeDevice { fake: Arc::clone(&self.fake), hall: Arc::clone(&self.hall), rank }))
    }
}

impl FakeDevice {
    fn ask(&self, tensor: &Tensor, count: &AtomicUsize, made: impl Fn(Vec<Tensor>) -> Tensor) -> Result<()> {
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(all) = self.hall.exchange(self.rank, tensor) {
            tensor.shallow_clone().copy_(&made(all));
        }
        Ok(())
    }
}

impl OnDevice for FakeDevice {
    fn name(&self) -> String {
        "fake".into()
    }

    fn sum(&self, tensor: &Tensor) -> Result<()> {
        self.ask(tensor, &self.fake.sums, sum)
    }

    fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        self.ask(tensor, &self.fake.broadcasts, |mut all| all.swap_remove(0))
    }

    fn mark(&self) -> Result<()> {
        Ok(())
    }

    fn waits(&self) -> Result<Duration> {
        match self.fake.failed.load(Ordering::Relaxed) {
            true => Err(Error::new("the device has fallen off the bus")),
            false => Ok(Duration::ZERO),
        }
    }

    fn abort(&self) {
        self.fake.aborted.store(true, Ordering::Relaxed);
        self.hall.go(std::iter::once(self.rank));
    }
}

/// Runs `work` as each of `size` ranks, which share a batch of `images`, and returns their results
/// in order.
pub(crate) fn ranks<T: Send>(size: usize, images: i64, work: impl Fn(World) -> T + Sync) -> Vec<T> {
    let fakes = (0..size).map(|_| Arc::new(Fake { obstacle: Some("not in this test"), ..Fake::default() }));
    ranks_with(&fakes.collect::<Vec<_>>(), images, work)
}

/// The same with a stand-in for NCCL each, which takes what is not the host's own.
pub(crate) fn ranks_with<T: Send>(fakes: &[Arc<Fake>], images: i64, work: impl Fn(World) -> T + Sync) -> Vec<T> {
    let size = fakes.len();
    let [hall, between] = [0; 2].map(|_| Hall::of(size));
    let notes = Arc::default();
    std::thread::scope(|scope| {
        let start = |rank: usize| {
            let threads = Threads { rank, hall: Arc::clone(&hall), notes: Arc::clone(&notes) };
            let opener = FakeOpener { fake: Arc::clone(&fakes[rank]), hall: Arc::clone(&between) };
            let work = &work;
            scope.spawn(move || {
                let timeout = Duration::from_secs(60);
                let launch = Launch {
                    launcher: "test",
                    rank,
                    size,
                    local_rank: rank,
                    local_size: None,
                    meeting: None,
                    transport: Transport::Gloo,
                    timeout,
                };
                let world = World::over_both(launch, Box::new(threads), Box::new(opener));
                world.set_share(share(images, rank, size));
                work(world)
            })
        };
        let running: Vec<_> = (0..size).map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
