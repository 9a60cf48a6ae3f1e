//! Optimisers over one flat tensor, with their state in our hands.

mod adam;
mod sgd;

use crate::scheduler::{Clock, Progress};
use tch::Tensor;

/// Updates parameters from their gradient.
///
/// The contract: element by element, in place, as a fixed sequence of tensor operations; numbers
/// that change between steps are read from the clock.
pub trait Optimizer: Send {
    /// Allocates the state for parameters like `values` `[P]`.
    fn prepare(&mut self, values: &Tensor);

    /// One update of `values` `[P]` by `gradient` `[P]`.
    fn update(&mut self, values: &Tensor, gradient: &Tensor, clock: &Clock);

    /// The learning rate at some progress, for the log.
    fn learning_rate(&self, progress: &Progress) -> f64;

    /// Its state by name, sharing its memory.
    fn state(&self) -> Vec<(String, Tensor)>;
}

#[cfg(test)]
mod testing {
    use crate::scheduler::Clock;
    use crate::testing::from_yaml;
    use tch::{Device, Kind, Tensor};

    /// Three updates of (1, -2) in double precision by the gradients that the PyTorch snippets use.
    pub fn trajectory(config: &str, expected: &[f64]) {
        let mut optimizer = from_yaml::<dyn super::Optimizer>(config, Kind::Double);
        let values = Tensor::from_slice(&[1.0, -2.0]);
        optimizer.prepare(&values);
        for gradient in [[1.0, 2.0], [0.5, -1.0], [0.0, 3.0]] {
            optimizer.update(&values, &Tensor::from_slice(&gradient), &Clock::new(1, 3, Device::Cpu));
        }
        let found = Vec::<f64>::try_from(values).unwrap();
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
    }
}
