//! A transport between the threads of one process, for tests of what is built on it.

use super::collective::{Collective, Pending};
use super::launch::Launch;
use super::share::share;
use super::transport::Transport;
use super::world::World;
use crate::Result;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;
use tch::Tensor;

struct Threads {
    rank: usize,
    meet: Arc<Barrier>,
    given: Arc<Mutex<Vec<Option<Tensor>>>>,
}

impl Threads {
    /// What every rank has given, in their order.
    fn exchange(&self, tensor: &Tensor) -> Vec<Tensor> {
        self.given.lock().unwrap()[self.rank] = Some(tensor.copy());
        self.meet.wait();
        let all = self.given.lock().unwrap().iter().map(|t| t.as_ref().unwrap().copy()).collect();
        self.meet.wait();
        all
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
        let sum = self.exchange(tensor).into_iter().reduce(|a, b| a + b).unwrap();
        tensor.shallow_clone().copy_(&sum);
        Ok(Box::new(Done))
    }

    fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        tensor.shallow_clone().copy_(&self.exchange(tensor)[0]);
        Ok(())
    }

    fn leave(&self) {}

    fn post(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }

    fn posted(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }
}

/// Runs `work` as each of `size` ranks, which share a batch of `images`, and returns what they made in their order.
pub(super) fn ranks<T: Send>(size: usize, images: i64, work: impl Fn(World) -> T + Sync) -> Vec<T> {
    let meet = Arc::new(Barrier::new(size));
    let given = Arc::new(Mutex::new((0..size).map(|_| None).collect()));
    std::thread::scope(|scope| {
        let start = |rank: usize| {
            let threads = Threads { rank, meet: Arc::clone(&meet), given: Arc::clone(&given) };
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
                let world = World::over(launch, Box::new(threads));
                world.set_share(share(images, rank, size));
                work(world)
            })
        };
        let running: Vec<_> = (0..size).map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
