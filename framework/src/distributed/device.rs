//! Sums on the ranks' devices: when they are used, how they are opened, and what the ranks decide
//! together for that.

use super::collective::OnDevice;
use super::world::{Joined, World};
use crate::{Error, Result};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

/// How often a rank that waits for the others checks whether one has failed.
const LOOK: Duration = Duration::from_millis(500);

impl World {
    /// Why the ranks' sums prevent capturing steps on `device`, if they do. Every rank calls it at
    /// the same point.
    ///
    /// # Errors
    /// When a rank is lost, or the transport between the devices cannot be opened.
    pub fn against_capture(&self, device: Device) -> Result<Option<String>> {
        let by_host = self.is_joined() && device != Device::Cpu && self.on_device(device)?.is_none();
        Ok(by_host.then(|| "its ranks sum their gradients on the CPU".to_string()))
    }

    /// Whether all ranks pass true. Every rank calls it at the same point.
    ///
    /// # Errors
    /// When a rank is lost.
    pub(crate) fn all(&self, mine: bool) -> Result<bool> {
        let against = Tensor::from_slice(&[i64::from(!mine)]);
        self.sum_on_host(&against)?;
        Ok(against.int64_value(&[0]) == 0)
    }

    /// Called after a step was enqueued as a whole: it must finish within the ranks' timeout.
    ///
    /// # Errors
    /// When the device has failed.
    pub(crate) fn sent(&self) -> Result<()> {
        match self.joined().and_then(Joined::opened) {
            Some(device) => self.lost(device.mark()),
            None => Ok(()),
        }
    }

    /// The transport that sums tensors on `device` without the host, if there is one. The first
    /// call opens it, on all ranks.
    pub(super) fn on_device(&self, device: Device) -> Result<Option<&'static dyn OnDevice>> {
        let Some(joined) = self.joined().filter(|joined| joined.opener.takes(device)) else { return Ok(None) };
        if let Some(known) = joined.device.get() {
            return Ok(known.as_deref());
        }
        let found = self.open(joined, device)?;
        let found = joined.device.get_or_init(|| found).as_deref();
        if let Some(found) = found {
            joined.watch(found);
        }
        Ok(found)
    }

    fn open(&self, joined: &'static Joined, device: Device) -> Result<Option<Box<dyn OnDevice>>> {
        // Either all ranks have it, or none uses it.
        let said = self.gather(&joined.opener.obstacle(device).unwrap_or_default())?;
        if let Some(rank) = said.iter().position(|why| !why.is_empty()) {
            if self.is_first() {
                let (who, why) = (self.name_of(rank), &said[rank]);
                tracing::warn!("gradients are summed on the CPU, which is slower: {who}: {why}");
            }
            return Ok(None);
        }
        let invitation = Tensor::zeros([128], (Kind::Uint8, Device::Cpu));
        if self.is_first() {
            invitation.shallow_clone().copy_(&Tensor::from_slice(&joined.opener.invitation()?));
        }
        self.lost(joined.transport.broadcast(&invitation))?;
        let invitation = Vec::<u8>::try_from(&invitation)?;
        let opened = self.meet(joined, invitation.try_into().unwrap_or([0; 128]), device)?;
        Ok(Some(opened))
    }

    /// Opens it on a separate thread, which is abandoned if the other ranks do not connect.
    fn meet(&self, joined: &'static Joined, invitation: [u8; 128], device: Device) -> Result<Box<dyn OnDevice>> {
        let (rank, size, timeout) = (self.rank(), self.size(), joined.launch.timeout);
        let (sender, opened) = channel();
        let open = move || drop(sender.send(joined.opener.open(invitation, rank, size, device)));
        std::thread::Builder::new().name("meeting".into()).spawn(open).map_err(Error::of)?;
        let started = Instant::now();
        loop {
            match opened.recv_timeout(LOOK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new("connecting the devices panicked"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if joined.another_failed() {
                return self.lost(Err(Error::new("another rank could not connect its device")));
            }
            if started.elapsed() > timeout {
                let seconds = timeout.as_secs();
                return self.lost(Err(Error::new(format!("the ranks' devices did not connect within {seconds} s"))));
            }
        }
    }
}

impl Joined {
    /// The transport between the devices, if it was opened.
    pub(super) fn opened(&self) -> Option<&dyn OnDevice> {
        self.device.get()?.as_deref()
    }

    /// Whether a rank is known to be lost.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::threads::{Fake, ranks_with};
    use super::super::vote::Vote;
    use super::*;
    use std::sync::Arc;

    fn fakes(size: usize, of: impl Fn(usize) -> Fake) -> Vec<Arc<Fake>> {
        (0..size).map(|rank| Arc::new(of(rank))).collect()
    }

    #[test]
    fn tensors_on_the_device_stay_there_and_words_do_not() {
        let fakes = fakes(3, |_| Fake::default());
        ranks_with(&fakes, 6, |world| {
            assert_eq!(world.against_capture(Device::Cpu).unwrap(), None);
            let mine = Tensor::from_slice(&[world.rank() as f32, 1.0]);
            world.sum(&mine).unwrap();
            assert_eq!(Vec::<f32>::try_from(&mine).unwrap(), [3.0, 3.0]);
            for kind in [Kind::Bool, Kind::Int16, Kind::Double, Kind::BFloat16] {
                let mine = Tensor::full([2, 3], world.rank() as i64 - 1, (kind, Device::Cpu)).transpose(0, 1);
                world.broadcast(&mine).unwrap();
                assert!(mine.equal(&Tensor::full([3, 2], -1, (kind, Device::Cpu))), "{kind:?}");
            }
            world.broadcast(&Tensor::zeros([0], (Kind::Float, Device::Cpu))).unwrap();
            assert_eq!(world.gather(&world.rank().to_string()).unwrap(), ["0", "1", "2"]);
            world.barrier().unwrap();
            let mut vote = Vote::default();
            assert!(!vote.stop(world, world.rank() == 1).unwrap());
            assert!(vote.stop(world, false).unwrap());
            assert_eq!(world.describe(), "3 ranks (threads, fake)");
            world.finish().unwrap();
        });
        for fake in fakes {
            let counted = [&fake.sums, &fake.broadcasts].map(|count| count.load(Ordering::Relaxed));
            assert_eq!(counted, [1, 4]);
            assert!(!fake.aborted.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn either_all_ranks_have_it_or_none_uses_it() {
        let fakes = fakes(2, |rank| Fake { obstacle: (rank == 1).then_some("no such library"), ..Fake::default() });
        ranks_with(&fakes, 2, |world| {
            let mine = Tensor::from(world.rank() as i64 + 1).view([1]);
            world.sum(&mine).unwrap();
            assert_eq!(mine.int64_value(&[0]), 3);
            assert_eq!(world.describe(), "2 ranks (threads)");
            assert!(world.all(true).unwrap() && !world.all(world.rank() == 0).unwrap());
        });
        assert!(fakes.iter().all(|fake| !fake.opened.load(Ordering::Relaxed)));
    }

    #[test]
    fn who_cannot_open_it_does_not_keep_the_others_waiting() {
        let of = |rank| Fake { refuses: (rank == 1).then_some("no way"), waits_to_open: rank == 0, ..Fake::default() };
        let said = ranks_with(&fakes(2, of), 2, |world| {
            let error = world.sum(&Tensor::zeros([1], (Kind::Float, Device::Cpu))).unwrap_err();
            world.explain(error).to_string()
        });
        assert_eq!(said, ["error: rank 1 failed: no way", "error: rank 1: no way"]);
    }

    #[test]
    fn a_rank_that_fails_ends_what_the_others_devices_wait_for() {
        let fakes = fakes(2, |_| Fake::default());
        let said = ranks_with(&fakes, 2, |world| {
            let mine = Tensor::ones([1], (Kind::Float, Device::Cpu));
            world.sum(&mine).unwrap();
            if world.rank() == 1 {
                return world.explain(Error::new("out of memory")).to_string();
            }
            // Its result is invalid, and the next sum reports that.
            world.sum(&mine).unwrap();
            let error = world.sum(&mine).unwrap_err();
            assert_eq!(error.message(), "rank 1 has failed");
            assert!(world.gather("").is_err() && world.broadcast(&mine).is_err());
            world.explain(error).to_string()
        });
        assert_eq!(said, ["error: rank 1 failed: out of memory", "error: rank 1: out of memory"]);
        assert!(fakes[0].aborted.load(Ordering::Relaxed));
    }

    #[test]
    fn a_device_that_fails_is_told_to_all() {
        let fakes = fakes(3, |_| Fake::default());
        ranks_with(&fakes, 3, |world| {
            let mine = Tensor::ones([1], (Kind::Float, Device::Cpu));
            world.sum(&mine).unwrap();
            // Ranks 0 and 1 wait; rank 2 never connects, because its device is broken.
            if world.rank() == 2 {
                fakes[2].failed.store(true, Ordering::Relaxed);
                while !fakes[2].aborted.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(50));
                }
            } else {
                world.sum(&mine).unwrap();
            }
            let error = world.sum(&mine).unwrap_err();
            assert_eq!(error.message(), "the device has fallen off the bus");
            let _ = world.explain(error);
        });
        assert!(fakes.iter().all(|fake| fake.aborted.load(Ordering::Relaxed)));
    }
}
