//! The optimizer trait: one flat tensor of parameters, with the optimizer's state in our hands.

use crate::nn::{Group, Span};
use crate::scheduler::{Clock, Progress};
use tch::Tensor;

/// Updates parameters from their gradient.
///
/// The contract: element by element, in place, as a fixed sequence of tensor operations; numbers
/// that change between steps are read from the clock.
pub trait Optimizer: Send {
    /// Allocates the state for parameters like `values` `[P]`, which lie there as `spans` say.
    fn prepare(&mut self, values: &Tensor, spans: &[Span]);

    /// One update of `values` `[P]` by `gradient` `[P]`.
    fn update(&mut self, values: &Tensor, gradient: &Tensor, clock: &Clock);

    /// The learning rate at some progress, for the log.
    fn learning_rate(&self, progress: &Progress) -> f64;

    /// Its state by name, sharing its memory.
    fn state(&self) -> Vec<(String, Tensor)>;
}

/// Weight decay of some groups of parameters: which parts of the flat tensor it acts on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decay(Vec<Part>);

/// A part of the flat tensor, and its weight decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// The place of its first number.
    pub start: i64,
    /// How many numbers it has.
    pub length: i64,
    /// Its weight decay.
    pub rate: f64,
}

impl Part {
    /// Its numbers in a flat tensor.
    pub fn of(&self, flat: &Tensor) -> Tensor {
        flat.narrow(0, self.start, self.length)
    }
}

impl Decay {
    /// Weight decay `rate` for all of `values` `[P]` except the groups in `no_decay`.
    pub fn new(rate: f64, no_decay: &[Group], values: &Tensor, spans: &[Span]) -> Self {
        if rate == 0.0 || no_decay.is_empty() {
            return Self(vec![Part { start: 0, length: values.numel() as i64, rate }]);
        }
        let mut parts: Vec<Part> = Vec::new();
        for span in spans {
            let rate = if no_decay.contains(&span.group) { 0.0 } else { rate };
            match parts.last_mut() {
                Some(last) if last.rate == rate => last.length += span.length,
                _ => parts.push(Part { start: span.start, length: span.length, rate }),
            }
        }
        Self(parts)
    }

    /// The parts, which cover the flat tensor in order; one if all decays alike.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// `gradient` + decay · `values`, `[P]`.
    pub fn added(&self, gradient: &Tensor, values: &Tensor) -> Tensor {
        match self.0.as_slice() {
            [Part { rate, .. }] if *rate > 0.0 => gradient + values * *rate,
            parts if parts.iter().all(|part| part.rate == 0.0) => gradient.shallow_clone(),
            parts => {
                let sum = gradient.copy();
                for part in parts.iter().filter(|part| part.rate > 0.0) {
                    let _ = part.of(&sum).g_add_(&(part.of(values) * part.rate));
                }
                sum
            }
        }
    }

    /// `values` - decay · `rate` · `values` in place, `[P]`: weight decay apart from the gradient
    /// (Loshchilov & Hutter 2019).
    pub fn shrink(&self, values: &Tensor, rate: &Tensor) {
        for part in self.0.iter().filter(|part| part.rate > 0.0) {
            let _ = part.of(values).g_mul_(&(1.0 - rate * part.rate));
        }
    }
}
