//! MPI as the transport, through the crate `mpi`. Notes stay in c10d's TCP store: MPI has no store
//! that can be read without another rank's help.
//!
//! One thread makes all MPI calls, so MPI_THREAD_FUNNELED is enough. Callers wait for that thread
//! until FOIL_TIMEOUT, or until another rank has left. MPI itself waits for ever.

use super::c10d::Store;
use super::collective::{Collective, Pending};
use super::launch::{Launch, Meeting};
use crate::{Error, Result};
use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tch::{Kind, Tensor};

/// How often a waiting caller checks whether another rank has left.
const LOOK: Duration = Duration::from_millis(50);
/// The note of a rank that left early.
const LEFT: &str = "mpi/left";
/// MPI counts in 32 bits, so this many numbers are sent at a time.
const PART: usize = 1 << 28;

/// A tensor's data, in its own kind.
enum Numbers {
    Float(Vec<f32>),
    Double(Vec<f64>),
    Long(Vec<i64>),
    Int(Vec<i32>),
    Byte(Vec<u8>),
}

impl Numbers {
    fn of(tensor: &Tensor) -> Result<Self> {
        let flat = tensor.reshape([-1]);
        Ok(match flat.kind() {
            Kind::Float => Self::Float(Vec::try_from(&flat)?),
            Kind::Double => Self::Double(Vec::try_from(&flat)?),
            Kind::Int64 => Self::Long(Vec::try_from(&flat)?),
            Kind::Int => Self::Int(Vec::try_from(&flat)?),
            Kind::Uint8 => Self::Byte(Vec::try_from(&flat)?),
            kind => return Err(Error::new(format!("tensors of {kind:?} cannot be summed over MPI"))),
        })
    }

    /// Copies them into `tensor`, which has a kind of the same size.
    fn into(self, tensor: &Tensor) {
        let numbers = match self {
            Self::Float(numbers) => Tensor::from_slice(&numbers),
            Self::Double(numbers) => Tensor::from_slice(&numbers),
            Self::Long(numbers) => Tensor::from_slice(&numbers),
            Self::Int(numbers) => Tensor::from_slice(&numbers),
            Self::Byte(numbers) => Tensor::from_slice(&numbers).view_dtype(tensor.kind()),
        };
        tch::no_grad(|| tensor.shallow_clone().copy_(&numbers.view_as(tensor)));
    }

    fn summed(self, world: &SimpleCommunicator) -> Self {
        match self {
            Self::Float(numbers) => Self::Float(sums(world, &numbers)),
            Self::Double(numbers) => Self::Double(sums(world, &numbers)),
            Self::Long(numbers) => Self::Long(sums(world, &numbers)),
            Self::Int(numbers) => Self::Int(sums(world, &numbers)),
            Self::Byte(numbers) => Self::Byte(sums(world, &numbers)),
        }
    }
}

/// MPI's standard only recommends that all ranks get the same bits. Open MPI and MPICH guarantee
/// it; ranks that diverge all the same are corrected once an epoch, with a warning.
fn sums<T: Equivalence + Copy + Default>(world: &SimpleCommunicator, numbers: &[T]) -> Vec<T> {
    let mut sums = vec![T::default(); numbers.len()];
    for (mine, sum) in numbers.chunks(PART).zip(sums.chunks_mut(PART)) {
        world.all_reduce_into(mine, sum, SystemOperation::sum());
    }
    sums
}

/// A job for the thread that calls MPI.
struct Job {
    numbers: Numbers,
    /// Whether they are summed; otherwise they become rank 0's.
    sum: bool,
    done: Sender<Numbers>,
}

impl Job {
    fn carry_out(self, world: &SimpleCommunicator) {
        let made = match self.numbers {
            Numbers::Byte(mut bytes) if !self.sum => {
                let first = world.process_at_rank(0);
                bytes.chunks_mut(PART).for_each(|part| first.broadcast_into(part));
                Numbers::Byte(bytes)
            }
            numbers => numbers.summed(world),
        };
        // The caller may have given up.
        let _ = self.done.send(made);
    }
}

/// The thread: reports MPI's rank and size, then runs jobs until the sender is dropped.
fn speak(place: &Sender<Result<(usize, usize)>>, jobs: &Receiver<Job>) {
    let Some((universe, level)) = mpi::initialize_with_threading(Threading::Funneled) else {
        let _ = place.send(Err(Error::new("MPI is already in use in this process")));
        return;
    };
    let world = universe.world();
    let _ = place.send(match level >= Threading::Funneled {
        true => Ok((world.rank().unsigned_abs() as usize, world.size().unsigned_abs() as usize)),
        false => Err(Error::new("this MPI cannot be called in a program with threads (MPI_THREAD_FUNNELED)")),
    });
    jobs.iter().for_each(|job| job.carry_out(&world));
    // Dropping the universe calls MPI_Finalize.
}

/// What waiting callers check.
struct Watch {
    store: Store,
    timeout: Duration,
}

impl Watch {
    fn result(&self, done: &Receiver<Numbers>) -> Result<Numbers> {
        let started = Instant::now();
        loop {
            match done.recv_timeout(LOOK) {
                Ok(numbers) => return Ok(numbers),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::new("MPI has ended in this rank")),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // A store that does not answer belonged to a rank that has left.
            if !matches!(self.store.get(LEFT), Ok(None)) {
                return Err(Error::new("a rank left while others waited for it in MPI"));
            }
            if started.elapsed() > self.timeout {
                return Err(Error::new(format!("a sum over MPI did not finish within {} s", self.timeout.as_secs())));
            }
        }
    }
}

/// The ranks of MPI's world.
pub(super) struct Mpi {
    watch: Arc<Watch>,
    /// The thread, and its job queue; `None` once this rank has left.
    speaker: Mutex<Option<(JoinHandle<()>, Sender<Job>)>>,
}

impl Mpi {
    /// Joins MPI's world, which must match the launcher's variables.
    pub fn join(launch: &Launch, meeting: &Meeting) -> Result<Self> {
        let store = Store::open(launch, meeting).map_err(|error| launch.not_met(meeting, &error))?;
        let ((place, answer), (ask, jobs)) = (channel(), channel());
        let thread = std::thread::Builder::new().name("mpi".into()).spawn(move || speak(&place, &jobs));
        let thread = thread.map_err(|error| Error::new(format!("could not start the thread for MPI: {error}")))?;
        let (rank, size) = answer.recv().map_err(|_| Error::new("MPI ended before it started"))??;
        if (rank, size) != (launch.rank, launch.size) {
            return Err(Error::new(format!(
                "MPI says rank {rank} of {size}, but {} says rank {} of {}",
                launch.launcher, launch.rank, launch.size
            ))
            .help(
                "start the ranks with the mpirun or srun of the MPI that foil was built with, or unset FOIL_TRANSPORT",
            ));
        }
        let watch = Arc::new(Watch { store, timeout: launch.timeout });
        Ok(Self { watch, speaker: Mutex::new(Some((thread, ask))) })
    }

    fn ask(&self, numbers: Numbers, sum: bool) -> Result<Receiver<Numbers>> {
        let (done, result) = channel();
        let speaker = self.speaker.lock().unwrap_or_else(PoisonError::into_inner);
        match speaker.as_ref().map(|(_, ask)| ask.send(Job { numbers, sum, done })) {
            Some(Ok(())) => Ok(result),
            _ => Err(Error::new("this rank has left the group")),
        }
    }
}

/// A sum in progress.
struct Sum {
    tensor: Tensor,
    result: Receiver<Numbers>,
    watch: Arc<Watch>,
}

impl Pending for Sum {
    fn wait(self: Box<Self>) -> Result<()> {
        self.watch.result(&self.result)?.into(&self.tensor);
        Ok(())
    }
}

impl Collective for Mpi {
    fn name(&self) -> &'static str {
        "mpi"
    }

    fn start_sum(&self, tensor: &Tensor) -> Result<Box<dyn Pending>> {
        let result = self.ask(Numbers::of(tensor)?, true)?;
        Ok(Box::new(Sum { tensor: tensor.shallow_clone(), result, watch: Arc::clone(&self.watch) }))
    }

    fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        let bytes = Numbers::of(&tensor.reshape([-1]).view_dtype(Kind::Uint8))?;
        self.watch.result(&self.ask(bytes, false)?)?.into(tensor);
        Ok(())
    }

    fn leave(&self) {
        // If the store is gone, so are the other ranks.
        let _ = self.watch.store.set(LEFT, "");
        // The thread is not stopped: it would wait in MPI_Finalize for ranks that have failed. It
        // ends with the process.
        std::mem::forget(self.speaker.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn finish(&self) {
        let speaker = self.speaker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((thread, ask)) = speaker {
            drop(ask);
            let _ = thread.join();
        }
    }

    fn post(&self, key: &str, note: &str) -> Result<()> {
        self.watch.store.set(key, note)
    }

    fn posted(&self, key: &str) -> Result<Option<String>> {
        self.watch.store.get(key)
    }
}
