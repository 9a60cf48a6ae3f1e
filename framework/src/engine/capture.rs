//! The same work again and again: on CUDA as one captured graph, elsewhere step by step.
//!
//! A captured graph reads and writes fixed addresses and takes no number from the host, so that work which is to be captured gets whatever
//! changes through tensors: its inputs, which are copied into buffers of their own, the [`Clock`](crate::scheduler::Clock)'s scalars, and
//! the key of the random numbers. The tests run steps on the CPU in this way, with everything else made wrong, and find the same bits.

use super::cuda::{self, Graph};
use crate::{Error, Result};
use foil_macros::settings;
use std::collections::BTreeMap;
use std::sync::Once;
use tch::{Device, Tensor};

/// Whether steps are captured as CUDA graphs.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Capture {
    /// On CUDA, where nothing speaks against it; the log says what does.
    Auto,
    /// On CUDA; anything that speaks against it is an error.
    On,
    /// Never.
    Off,
}

/// How the work is run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum How {
    /// As it is.
    Eager,
    /// As it is, but on inputs in fixed buffers.
    Fixed,
    /// The first time with inputs of some shape as it is, which lets libtorch prepare what it prepares once; then captured, and from
    /// then on replayed. Nothing runs that is not a step of the run, so nothing has to be undone.
    Captured,
}

/// Work with inputs of one shape.
struct Shape<T> {
    /// What is read in place of the inputs.
    buffers: Vec<Tensor>,
    /// The graph and the tensors it writes.
    graph: Option<(Graph, T)>,
}

/// Work that is run many times; `T` is made of the tensors it returns.
pub struct Repeated<T> {
    how: How,
    must: bool,
    shapes: BTreeMap<Vec<Vec<i64>>, Shape<T>>,
    /// What the last run gave, where it was not a replay.
    last: Option<T>,
}

impl<T> std::fmt::Debug for Repeated<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repeated {:?}, {} shapes", self.how, self.shapes.len())
    }
}

impl<T> Repeated<T> {
    /// Work on `device`; `against` says why it cannot be captured, if something does.
    ///
    /// # Errors
    /// With [`Capture::On`], when it cannot be captured.
    pub fn new(capture: Capture, device: Device, against: Option<String>) -> Result<Self> {
        let eager = |how| Self { how, must: false, shapes: BTreeMap::new(), last: None };
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
                // Evaluations ask too, again and again.
                static ONCE: Once = Once::new();
                ONCE.call_once(|| tracing::warn!("steps are not captured as CUDA graphs, which is slower: {why}"));
                Ok(eager(How::Eager))
            }
        }
    }

    /// Work on inputs in fixed buffers, as if it were captured; for tests on a CPU.
    #[must_use]
    pub fn fixed() -> Self {
        Self { how: How::Fixed, must: false, shapes: BTreeMap::new(), last: None }
    }

    /// Whether it runs as it is, operation by operation, so that it may look at the device.
    pub fn is_eager(&self) -> bool {
        self.how == How::Eager
    }

    /// Runs `work` on `inputs`. What it returns is overwritten by the next run.
    ///
    /// # Errors
    /// What `work` reports. That it could not be captured is a warning, and from then on it is run as it is, unless capture is a must.
    pub fn run(&mut self, inputs: &[&Tensor], work: &mut dyn FnMut(&[Tensor]) -> Result<T>) -> Result<&T> {
        if self.how == How::Eager {
            let inputs: Vec<Tensor> = inputs.iter().map(|t| t.shallow_clone()).collect();
            return Ok(self.last.insert(work(&inputs)?));
        }
        let key = inputs.iter().map(|t| t.size()).collect();
        let Some(shape) = self.shapes.get_mut(&key) else {
            let buffers: Vec<Tensor> = inputs.iter().map(|t| t.copy()).collect();
            let made = work(&buffers)?;
            self.shapes.insert(key, Shape { buffers, graph: None });
            return Ok(self.last.insert(made));
        };
        for (buffer, input) in shape.buffers.iter().zip(inputs) {
            buffer.shallow_clone().copy_(input);
        }
        if self.how == How::Captured && shape.graph.is_none() {
            // What the eager run left behind makes room for the graph's own memory.
            self.last = None;
            cuda::empty_cache()?;
            let buffers: Vec<Tensor> = shape.buffers.iter().map(Tensor::shallow_clone).collect();
            let pool = self.shapes.values().find_map(|shape| shape.graph.as_ref().map(|(graph, _)| graph));
            match Graph::capture(pool, || work(&buffers)) {
                Ok(captured) => {
                    if let Some(shape) = self.shapes.get_mut(&key) {
                        shape.graph = Some(captured);
                    }
                }
                Err(error) if self.must => {
                    return Err(error.context("`train.capture` is `on`, but the step could not be captured"));
                }
                Err(error) => {
                    tracing::warn!(
                        "the step could not be captured as a CUDA graph, and runs step by step from here: {}",
                        error.message()
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
            return Ok(made);
        }
        let made = work(&shape.buffers)?;
        Ok(self.last.insert(made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
