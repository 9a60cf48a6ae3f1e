//! Repeated work: on CUDA as one captured graph, elsewhere one operation at a time.
//!
//! A captured graph reads and writes fixed addresses and takes no number from the host. So
//! everything that changes reaches captured work through tensors: its inputs, which are copied into
//! buffers, the [`Clock`](crate::scheduler::Clock)'s scalars, and the key of the random numbers.
//! The tests run steps on the CPU this way, with everything else made wrong, and get the same
//! bits.
//!
//! If several ranks sum inside the work, all capture it or none does: NCCL requires a sum to be
//! captured everywhere or nowhere. A rank's weight in the sum is a number of the host, which
//! differs between batches of which this rank has as many images; so a graph belongs to a share of
//! a batch, not to a number of images. All ranks then run, capture and replay at the same steps.

use crate::cuda::{self, Graph};
use crate::distributed::{Share, World};
use crate::{Error, Result};
use foil_macros::settings;
use std::collections::BTreeMap;
use std::sync::Once;
use tch::{Device, Tensor};

/// Whether steps are captured as CUDA graphs.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Capture {
    /// On CUDA where possible; otherwise the log says why not.
    Auto,
    /// On CUDA; if it is not possible, that is an error.
    On,
    /// Never.
    Off,
}

/// How to run the work.
#[derive(Debug, Clone, PartialEq, Eq)]
enum How {
    /// As it is.
    Eager,
    /// Eager, but on inputs in fixed buffers.
    Fixed,
    /// The first run with inputs of some shape is eager, which lets libtorch do its one-time
    /// preparations; the second is captured, later ones are replayed. Every run is a real step, so
    /// nothing has to be undone.
    Captured,
}

/// The result of a capture: a [`Graph`], or a stand-in for tests on a CPU.
pub trait Recorded: Sized {
    /// Records the device operations of `work`, sharing memory with `pool`; see
    /// [`Graph::capture`].
    ///
    /// # Errors
    /// What cannot be captured, or what `work` reports.
    fn record<T>(pool: Option<&Self>, work: impl FnOnce() -> Result<T>) -> Result<(Self, T)>;

    /// Runs the recorded operations again.
    ///
    /// # Errors
    /// What the device reports.
    fn replay(&self) -> Result<()>;
}

impl Recorded for Graph {
    fn record<T>(pool: Option<&Self>, work: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        // Frees cached memory to make room for the graph's own.
        cuda::empty_cache()?;
        Self::capture(pool, work)
    }

    fn replay(&self) -> Result<()> {
        self.replay()
    }
}

/// The shapes of inputs, and the share of the batch that they are.
type Key = (Vec<Vec<i64>>, [i64; 3]);

/// Work with inputs of one shape, and of one share.
struct Shape<T, G> {
    /// The buffers that are read in place of the inputs.
    buffers: Vec<Tensor>,
    /// The graph and the tensors it writes.
    graph: Option<(G, T)>,
    /// This rank's share when the work was first run; the graph has it as a constant.
    share: Share,
}

/// Work that is run many times; `T` holds the tensors it returns.
pub struct Repeated<T, G = Graph> {
    how: How,
    must: bool,
    world: World,
    shapes: BTreeMap<Key, Shape<T, G>>,
    /// The last run's result, if it was not a replay.
    last: Option<T>,
}

impl<T, G> std::fmt::Debug for Repeated<T, G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repeated {:?}, {} shapes", self.how, self.shapes.len())
    }
}

impl<T> Repeated<T> {
    /// Work on `device`; `against` is the reason why it cannot be captured, if any.
    ///
    /// # Errors
    /// With [`Capture::On`], when it cannot be captured.
    pub fn new(capture: Capture, device: Device, against: Option<String>) -> Result<Self> {
        let eager = Self::running;
        let obstacle = match (capture, device) {
            (Capture::Off, _) | (Capture::Auto, Device::Cpu) => return Ok(eager(How::Eager)),
            (_, Device::Cuda(n)) => against.or_else(|| cuda::own_stream(n).err().map(|e| e.message().to_string())),
            _ => Some("it runs on the CPU".to_string()),
        };
        match obstacle {
            None => Ok(Self { must: capture == Capture::On, ..eager(How::Captured) }),
            Some(why) if capture == Capture::On => {
                Err(Error::new(format!("`train.capture` is `on`, but steps cannot be captured: {why}"))
                    .help("write `auto`, or leave it out"))
            }
            Some(why) => {
                // Evaluations ask repeatedly; warn once.
                static ONCE: Once = Once::new();
                ONCE.call_once(|| tracing::warn!("steps are not captured as CUDA graphs, which is slower: {why}"));
                Ok(eager(How::Eager))
            }
        }
    }

    /// Work on inputs in fixed buffers, as if it were captured; for tests on a CPU.
    #[must_use]
    pub fn fixed() -> Self {
        Self::running(How::Fixed)
    }
}

impl<T, G: Recorded> Repeated<T, G> {
    fn running(how: How) -> Self {
        Self { how, must: false, world: World::alone(), shapes: BTreeMap::new(), last: None }
    }

    /// Work that all ranks of `world` run at the same points, and that sums over them; it is
    /// captured if all can.
    ///
    /// # Errors
    /// When a rank is lost.
    pub fn across(mut self, world: World) -> Result<Self> {
        self.world = world;
        if world.is_joined() && !world.all(self.how == How::Captured)? && self.how == How::Captured {
            if self.must {
                return Err(Error::new("`train.capture` is `on`, but another rank cannot capture steps")
                    .help("its output says why; write `auto`, or leave it out"));
            }
            tracing::warn!("steps are not captured as CUDA graphs, which is slower: another rank cannot");
            self.how = How::Eager;
        }
        Ok(self)
    }

    /// Whether it runs eagerly, so that it may read the device.
    pub fn is_eager(&self) -> bool {
        self.how == How::Eager
    }

    /// Runs `work` on `inputs`. What it returns is overwritten by the next run.
    ///
    /// # Errors
    /// What `work` reports. If it cannot be captured, that is a warning and it runs eagerly from
    /// then on; with [`Capture::On`] it is an error.
    pub fn run(&mut self, inputs: &[&Tensor], work: &mut dyn FnMut(&[Tensor]) -> Result<T>) -> Result<&T> {
        if self.how == How::Eager {
            let inputs: Vec<Tensor> = inputs.iter().map(|t| t.shallow_clone()).collect();
            return Ok(self.last.insert(work(&inputs)?));
        }
        let share = self.world.share();
        let key = (inputs.iter().map(|t| t.size()).collect(), [share.start, share.mine, share.all]);
        let Some(shape) = self.shapes.get_mut(&key) else {
            let buffers: Vec<Tensor> = inputs.iter().map(|t| t.copy()).collect();
            let made = work(&buffers)?;
            self.shapes.insert(key, Shape { buffers, graph: None, share });
            return Ok(self.last.insert(made));
        };
        for (buffer, input) in shape.buffers.iter().zip(inputs) {
            buffer.shallow_clone().copy_(input);
        }
        if self.how == How::Captured && shape.graph.is_none() {
            self.last = None;
            let buffers: Vec<Tensor> = shape.buffers.iter().map(Tensor::shallow_clone).collect();
            let pool = self.shapes.values().find_map(|shape| shape.graph.as_ref().map(|(graph, _)| graph));
            let captured = G::record(pool, || work(&buffers));
            // Either all ranks replay this sum, or none does.
            let all = self.world.all(captured.is_ok())?;
            match captured {
                Ok(captured) if all => {
                    if let Some(shape) = self.shapes.get_mut(&key) {
                        shape.graph = Some(captured);
                    }
                }
                Err(error) if self.must => {
                    return Err(error.context("`train.capture` is `on`, but the step could not be captured"));
                }
                failed => {
                    let why = failed.err().map_or("another rank could not".into(), |error| error.message().to_string());
                    tracing::warn!(
                        "the step could not be captured as a CUDA graph and runs one operation at a time from here on: {why}"
                    );
                    self.how = How::Eager;
                    self.shapes.clear();
                    return Ok(self.last.insert(work(&buffers)?));
                }
            }
        }
        let Some(shape) = self.shapes.get(&key) else { return Err(Error::new("the captured step is gone")) };
        if let Some((graph, made)) = &shape.graph {
            graph.replay()?;
            self.world.sent()?;
            return Ok(made);
        }
        // A graph cannot see the current share.
        self.world.set_share(shape.share);
        let made = work(&shape.buffers);
        self.world.set_share(share);
        Ok(self.last.insert(made?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::threads::ranks;
    use std::cell::Cell;
    use tch::Kind;

    #[test]
    fn fixed_buffers_stay_where_they_are_for_each_shape() {
        let mut repeated = Repeated::fixed();
        let mut seen = Vec::new();
        for n in [3i64, 2, 3, 2, 3] {
            let input = Tensor::full([n], seen.len() as f64, (Kind::Float, Device::Cpu));
            let made =
                repeated.run(&[&input], &mut |inputs| Ok((inputs[0].data_ptr(), inputs[0].sum(Kind::Float)))).unwrap();
            assert_eq!(made.1.double_value(&[]), (n * seen.len() as i64) as f64);
            seen.push(made.0);
        }
        assert!(seen[0] == seen[2] && seen[2] == seen[4] && seen[1] == seen[3] && seen[0] != seen[1], "{seen:?}");
    }

    #[test]
    fn on_the_cpu_auto_is_eager_and_on_is_an_error() {
        let mut repeated = Repeated::new(Capture::Auto, Device::Cpu, None).unwrap();
        let input = Tensor::from(2.0);
        let pointer = input.data_ptr();
        assert!(repeated.run(&[&input], &mut |inputs| Ok(inputs[0].data_ptr() == pointer)).unwrap());
        assert!(repeated.run(&[&input], &mut |_| Err(Error::new("no"))).is_err());
        let error = Repeated::<Tensor>::new(Capture::On, Device::Cpu, None).unwrap_err();
        assert!(error.message().contains("runs on the CPU"), "{error}");
    }

    /// A recording for a CPU: it counts, and runs the recorded work when it is replayed.
    struct Counted(Cell<u32>);

    thread_local! {
        static REFUSE: Cell<bool> = const { Cell::new(false) };
        static REPLAYS: Cell<u32> = const { Cell::new(0) };
    }

    impl Recorded for Counted {
        fn record<T>(_: Option<&Self>, work: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
            match REFUSE.get() {
                true => Err(Error::new("it looks at a number")),
                false => Ok((Self(Cell::new(0)), work()?)),
            }
        }

        fn replay(&self) -> Result<()> {
            self.0.set(self.0.get() + 1);
            REPLAYS.set(REPLAYS.get() + 1);
            Ok(())
        }
    }

    fn captured(world: World) -> Repeated<i64, Counted> {
        Repeated { must: false, ..Repeated::running(How::Captured) }.across(world).unwrap()
    }

    #[test]
    fn all_ranks_capture_a_step_or_none_does() {
        for refusing in [None, Some(1)] {
            ranks(2, 2, |world| {
                let mut repeated = captured(world);
                let input = Tensor::from(1.0);
                REPLAYS.set(0);
                for step in 0..4 {
                    // The second step is the one that is captured.
                    REFUSE.set(refusing == Some(world.rank()) && step == 1);
                    repeated.run(&[&input], &mut |_| Ok(step)).unwrap();
                }
                assert_eq!(
                    (repeated.is_eager(), REPLAYS.get()),
                    (refusing.is_some(), if refusing.is_some() { 0 } else { 3 })
                );
            });
        }
    }

    #[test]
    fn a_rank_that_cannot_capture_at_all_keeps_the_others_from_it() {
        ranks(2, 2, |world| {
            let eager = Repeated::<i64, Counted>::running(How::Eager);
            let repeated = if world.rank() == 0 { captured(world) } else { eager.across(world).unwrap() };
            assert!(repeated.is_eager());
        });
    }

    /// Rank 0 has 2 of 4 and then 2 of 3 images: the shape is the same, but its weight in the sum
    /// differs, as do rank 1's rows.
    #[test]
    fn a_graph_belongs_to_a_share_of_a_batch() {
        ranks(2, 4, |world| {
            let mut repeated = captured(world);
            for (i, all) in [4i64, 3, 4, 3, 4].into_iter().enumerate() {
                let share = crate::distributed::share(all, world.rank(), 2);
                world.set_share(share);
                let rows = Tensor::zeros([share.mine], (Kind::Float, Device::Cpu));
                let weight = *repeated.run(&[&rows], &mut |_| Ok((world.weight() * 12.0) as i64)).unwrap();
                assert_eq!(weight, 12 * share.mine / all);
                assert_eq!(repeated.shapes.len(), (i + 1).min(2));
                assert_eq!(repeated.shapes.values().filter(|shape| shape.graph.is_some()).count(), [0, 0, 1, 2, 2][i]);
            }
        });
    }
}
