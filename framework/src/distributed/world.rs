//! The processes that train together, for the rest of foil.

use super::c10d::C10d;
use super::collective::{Collective, OnDevice, Opener, Pending, by_host};
use super::launch::Launch;
use super::nccl::Nccl;
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
/// It is a handle, handed to whatever must know: a process joins one world for its life. Statics
/// would not do, since a plugin library has its own copy of them.
#[derive(Clone, Copy, Default)]
pub struct World(Option<&'static Joined>);

/// A world of several.
pub(super) struct Joined {
    pub(super) launch: Launch,
    pub(super) transport: Box<dyn Collective>,
    /// Opens the transport between the ranks' devices; once that is known, the transport or its
    /// absence.
    pub(super) opener: Box<dyn Opener>,
    pub(super) device: OnceLock<Option<Box<dyn OnDevice>>>,
    /// The ranks' machines, once they have exchanged names.
    pub(super) hosts: OnceLock<Vec<String>>,
    /// Set when a collective has failed here.
    pub(super) broken: AtomicBool,
    /// The cause, if it was not this rank's own collective.
    pub(super) reason: OnceLock<String>,
    /// Set when this rank has ended normally.
    pub(super) left: AtomicBool,
    /// Set when the rank that failed is known.
    pub(super) explained: AtomicBool,
    /// Set when another rank reports the error.
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

    /// Joins the world described by the environment, if it describes one; see [`Launch::detect`].
    ///
    /// # Errors
    /// When the environment contradicts itself, or as [`World::join`].
    pub fn from_environment() -> Result<Self> {
        Launch::detect()?.map_or(Ok(Self::alone()), Self::join)
    }

    /// Connects to the other ranks, and waits for all of them. Without a meeting point it is
    /// [`World::alone`].
    ///
    /// # Errors
    /// When they do not connect within the launch's timeout.
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
        Self::over_both(launch, transport, Box::new(Nccl))
    }

    /// The same, with another way between devices than NCCL.
    pub(super) fn over_both(launch: Launch, transport: Box<dyn Collective>, opener: Box<dyn Opener>) -> Self {
        let share = Mutex::new(Share { start: 0, mine: 1, all: 1 });
        let [broken, left, explained, silent] = [false; 4].map(AtomicBool::new);
        let (hosts, device, reason) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let joined =
            Joined { launch, transport, opener, device, hosts, broken, reason, left, explained, silent, share };
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

    /// The number of processes.
    pub fn size(&self) -> usize {
        self.0.map_or(1, |joined| joined.launch.size)
    }

    /// Whether this rank prints and writes for all.
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

    /// A description: `4 ranks on 2 machines (gloo)`.
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
        let device = joined.opened().map_or(String::new(), |device| format!(", {}", device.name()));
        format!("{ranks}{machines} ({}{device})", joined.transport.name())
    }

    /// The ranks' transport, such as `gloo`; `None` for a single process.
    pub fn transport(&self) -> Option<&'static str> {
        self.0.map(|joined| joined.transport.name())
    }

    /// How long this rank has spent in sums on the CPU so far, including waiting for others.
    pub fn spent_in_sums(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |joined| joined.transport.spent())
    }

    /// Says which images of the batch this rank has, before each step.
    pub fn set_share(&self, share: Share) {
        if let Some(joined) = self.0 {
            *joined.share.lock().unwrap_or_else(PoisonError::into_inner) = share;
        }
    }

    pub(crate) fn share(&self) -> Share {
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

    /// Replaces `tensor`, contiguous, by its sum over the ranks; the same bits on each. Between
    /// devices that can do it without the host it is only asked for.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn sum(&self, tensor: &Tensor) -> Result<()> {
        match self.on_device(tensor.device())? {
            Some(device) => self.unbroken().and_then(|()| device.sum(tensor)),
            None => self.sum_on_host(tensor),
        }
    }

    pub(super) fn sum_on_host(&self, tensor: &Tensor) -> Result<()> {
        let Some(joined) = self.0 else { return Ok(()) };
        self.unbroken()?;
        self.lost(match tensor.device() {
            Device::Cpu => joined.transport.sum(tensor),
            _ => by_host(&*joined.transport, tensor, |transport, copy| transport.sum(copy)),
        })
    }

    /// Begins [`World::sum`] of a tensor on the CPU.
    pub(super) fn start_sum(&self, tensor: &Tensor) -> Result<Box<dyn Pending>> {
        self.unbroken()?;
        match self.0 {
            Some(joined) => self.lost(joined.transport.start_sum(tensor)),
            None => Err(Error::new("a single process has no rank to send to")),
        }
    }

    /// Replaces `tensor` by rank 0's.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        let Some(joined) = self.0 else { return Ok(()) };
        let Some(device) = self.on_device(tensor.device())? else {
            self.unbroken()?;
            return self.lost(by_host(&*joined.transport, tensor, |transport, copy| transport.broadcast(copy)));
        };
        self.unbroken()?;
        if tensor.numel() == 0 {
            return Ok(());
        }
        // As bytes: NCCL knows fewer kinds of numbers than libtorch.
        let copy = tensor.detach().copy().contiguous();
        device.broadcast(&copy.view([-1]).view_dtype(Kind::Uint8))?;
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
        self.sum_on_host(&lengths)?;
        let width = lengths.max().int64_value(&[]).max(1);
        let texts = Tensor::zeros([size, width], (Kind::Uint8, Device::Cpu));
        if !text.is_empty() {
            texts.get(rank).narrow(0, 0, text.len() as i64).copy_(&Tensor::from_slice(text.as_bytes()));
        }
        self.sum_on_host(&texts)?;
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
            joined.left.store(true, Ordering::Relaxed);
            joined.transport.finish();
        }
        Ok(())
    }

    /// Waits until all ranks are here.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn barrier(&self) -> Result<()> {
        self.sum_on_host(&Tensor::zeros([1], (Kind::Int64, Device::Cpu)))
    }

    /// An error once a rank was lost: what devices made since is worth nothing, and must not be
    /// saved.
    fn unbroken(&self) -> Result<()> {
        match self.0.filter(|joined| joined.is_broken()) {
            Some(joined) => Err(Error::new(joined.reason.get().map_or("a rank was lost", String::as_str))),
            None => Ok(()),
        }
    }

    /// Notes that a collective has failed.
    pub(super) fn lost<T>(&self, result: Result<T>) -> Result<T> {
        if let (Err(_), Some(joined)) = (&result, self.0) {
            joined.broken.store(true, Ordering::Relaxed);
        }
        result
    }
}
