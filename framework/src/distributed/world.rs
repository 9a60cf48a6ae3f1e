//! The processes that train together, as the rest of foil sees them.

use super::c10d::C10d;
use super::collective::{Collective, Pending};
use super::launch::Launch;
use super::share::Share;
use super::timed::Timed;
use super::transport::Transport;
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tch::{Device, Kind, Tensor};

/// The ranks that train together; a process on its own is a world of one, in which nothing is sent.
///
/// It is a handle, handed to whatever must know: a process joins one world for its life. Statics would not do, since a plugin
/// library has its own copy of them.
#[derive(Clone, Copy, Default)]
pub struct World(Option<&'static Joined>);

/// A world of several.
pub(super) struct Joined {
    pub(super) launch: Launch,
    pub(super) transport: Box<dyn Collective>,
    /// The ranks' machines, once they have told each other.
    pub(super) hosts: OnceLock<Vec<String>>,
    /// Set when a collective has failed here.
    pub(super) broken: AtomicBool,
    /// Set when it was found out who failed.
    pub(super) explained: AtomicBool,
    /// Set when another rank tells the user.
    pub(super) silent: AtomicBool,
    share: Mutex<Share>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}

impl World {
    /// A process on its own.
    pub fn alone() -> Self {
        Self(None)
    }

    /// Joins the world that this process's environment speaks of, if it does; see [`Launch::detect`].
    ///
    /// # Errors
    /// When the environment contradicts itself, or as [`World::join`].
    pub fn from_environment() -> Result<Self> {
        Launch::detect()?.map_or(Ok(Self::alone()), Self::join)
    }

    /// Meets the other ranks, and waits until all are there. Without a place to meet it is [`World::alone`].
    ///
    /// # Errors
    /// When they do not come within the launch's timeout.
    pub fn join(launch: Launch) -> Result<Self> {
        let Some(meeting) = &launch.meeting else { return Ok(Self::alone()) };
        let transport: Box<dyn Collective> = match launch.transport {
            Transport::Gloo => Box::new(C10d::join(&launch, meeting).map_err(|error| launch.not_met(meeting, &error))?),
            #[cfg(feature = "mpi")]
            Transport::Mpi => Box::new(super::mpi::Mpi::join(&launch, meeting)?),
            #[cfg(not(feature = "mpi"))]
            Transport::Mpi => return Err(Transport::no_mpi()),
        };
        Ok(Self::over(launch, Box::new(Timed::new(transport))))
    }

    /// A world over a transport that is open.
    pub(super) fn over(launch: Launch, transport: Box<dyn Collective>) -> Self {
        let share = Mutex::new(Share { start: 0, mine: 1, all: 1 });
        let [broken, explained, silent] = [false; 3].map(AtomicBool::new);
        let joined = Joined { launch, transport, hosts: OnceLock::new(), broken, explained, silent, share };
        let joined: &'static Joined = Box::leak(Box::new(joined));
        joined.beat();
        Self(Some(joined))
    }

    pub(super) fn of(joined: &'static Joined) -> Self {
        Self(Some(joined))
    }

    pub(super) fn joined(&self) -> Option<&'static Joined> {
        self.0
    }

    /// This process, from 0.
    pub fn rank(&self) -> usize {
        self.0.map_or(0, |joined| joined.launch.rank)
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.0.map_or(1, |joined| joined.launch.size)
    }

    /// Whether this rank speaks and writes for all.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// This process among those on its machine, from 0.
    pub fn local_rank(&self) -> usize {
        self.0.map_or(0, |joined| joined.launch.local_rank)
    }

    /// How many processes are on this machine, if the launcher said so.
    pub fn local_size(&self) -> Option<usize> {
        self.0.and_then(|joined| joined.launch.local_size)
    }

    /// Whether tensors are sent at all: several ranks, or one that was launched as such.
    pub fn is_joined(&self) -> bool {
        self.0.is_some()
    }

    /// What is said of it: `4 ranks on 2 machines (gloo)`.
    pub fn describe(&self) -> String {
        let Some(joined) = self.0 else { return "one process".into() };
        let mut hosts = joined.hosts.get().cloned().unwrap_or_default();
        hosts.sort();
        hosts.dedup();
        let machines = match hosts.len() {
            0 | 1 => String::new(),
            n => format!(" on {n} machines"),
        };
        let ranks = if self.size() == 1 { "1 rank".to_string() } else { format!("{} ranks", self.size()) };
        format!("{ranks}{machines} ({})", joined.transport.name())
    }

    /// What carries the ranks' sums: `gloo`; nothing for a process on its own.
    pub fn transport(&self) -> Option<&'static str> {
        self.0.map(|joined| joined.transport.name())
    }

    /// How long this rank has spent in sums on the CPU so far, the waiting for others included.
    pub fn spent_in_sums(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |joined| joined.transport.spent())
    }

    /// Says which images of the batch this rank has, before each step.
    pub fn set_share(&self, share: Share) {
        if let Some(joined) = self.0 {
            *joined.share.lock().unwrap_or_else(PoisonError::into_inner) = share;
        }
    }

    fn share(&self) -> Share {
        let whole = Share { start: 0, mine: 1, all: 1 };
        self.0.map_or(whole, |joined| *joined.share.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The weight of a mean over this rank's images in the mean over the batch.
    pub fn weight(&self) -> f64 {
        let share = self.share();
        share.mine as f64 / share.all.max(1) as f64
    }

    /// Whether this rank's images count; those of a rank without a share only keep it in step.
    pub fn counts(&self) -> bool {
        self.share().mine > 0
    }

    /// Replaces `tensor`, contiguous, by its sum over the ranks; the same bits on each.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn sum(&self, tensor: &Tensor) -> Result<()> {
        let Some(joined) = self.0 else { return Ok(()) };
        self.lost(match tensor.device() {
            Device::Cpu => joined.transport.sum(tensor),
            _ => {
                let copy = tensor.to_device(Device::Cpu);
                joined.transport.sum(&copy).map(|()| tensor.shallow_clone().copy_(&copy))
            }
        })
    }

    /// Begins [`World::sum`] of a tensor on the CPU.
    pub(super) fn start_sum(&self, tensor: &Tensor) -> Result<Box<dyn Pending>> {
        match self.0 {
            Some(joined) => self.lost(joined.transport.start_sum(tensor)),
            None => Err(Error::new("a process on its own has no one to send to")),
        }
    }

    /// Replaces `tensor` by rank 0's.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        let Some(joined) = self.0 else { return Ok(()) };
        let copy = tensor.to_device(Device::Cpu).contiguous();
        self.lost(joined.transport.broadcast(&copy))?;
        tch::no_grad(|| tensor.shallow_clone().copy_(&copy));
        Ok(())
    }

    /// What every rank says, in their order.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn gather(&self, text: &str) -> Result<Vec<String>> {
        if self.0.is_none() {
            return Ok(vec![text.to_string()]);
        }
        let (rank, size) = (self.rank() as i64, self.size() as i64);
        let lengths = Tensor::zeros([size], (Kind::Int64, Device::Cpu));
        let _ = lengths.narrow(0, rank, 1).fill_(text.len() as i64);
        self.sum(&lengths)?;
        let width = lengths.max().int64_value(&[]).max(1);
        let texts = Tensor::zeros([size, width], (Kind::Uint8, Device::Cpu));
        if !text.is_empty() {
            texts.get(rank).narrow(0, 0, text.len() as i64).copy_(&Tensor::from_slice(text.as_bytes()));
        }
        self.sum(&texts)?;
        let row = |rank: i64| {
            let bytes = Vec::<u8>::try_from(texts.get(rank).narrow(0, 0, lengths.int64_value(&[rank])))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        (0..size).map(row).collect::<Result<_, tch::TchError>>().map_err(Error::from)
    }

    /// What rank 0 says; the others' `text` is not looked at.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn first_says(&self, text: &str) -> Result<String> {
        let mine = if self.is_first() { text } else { "" };
        Ok(self.gather(mine)?.swap_remove(0))
    }

    /// Ends it in good order: waits for all ranks, so that none misses one that has left.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn finish(&self) -> Result<()> {
        self.barrier()?;
        if let Some(joined) = self.0 {
            joined.transport.finish();
        }
        Ok(())
    }

    /// Waits until all ranks are here.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn barrier(&self) -> Result<()> {
        self.sum(&Tensor::zeros([1], (Kind::Int64, Device::Cpu)))
    }

    /// Notes that a collective has failed.
    pub(super) fn lost<T>(&self, result: Result<T>) -> Result<T> {
        if let (Err(_), Some(joined)) = (&result, self.0) {
            joined.broken.store(true, Ordering::Relaxed);
        }
        result
    }
}
