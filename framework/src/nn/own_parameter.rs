//! Parameters of a model's own, such as a class token or positions.

use super::params::{Builder, GivenParameter, Group, Init};

/// How a parameter starts. Numbers are drawn from the run's seed and the parameter's name, so that
/// two builds are equal to the bit; `Tensor::randn` would draw others each time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// One number everywhere.
    Constant(f64),
    /// Normal, with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform in ±bound.
    Uniform(f64),
}

impl Builder {
    /// A trainable parameter of this shape, `NAME` in the `state_dict`. In a forward pass it is
    /// [`Pass::parameter`](super::Pass::parameter).
    ///
    /// # Panics
    /// When another tensor has this name; in a plugin's `build` that is an error of the model.
    #[track_caller]
    pub fn parameter(&self, name: &str, shape: &[i64], start: Start) -> GivenParameter {
        let init = match start {
            Start::Constant(value) => Init::Constant(value),
            Start::Normal(std) => Init::Normal(std),
            Start::Uniform(bound) => Init::Uniform(bound),
        };
        let group = if shape.len() > 1 { Group::Weight } else { Group::Bias };
        GivenParameter(self.param(name, "", shape, init, group))
    }
}
