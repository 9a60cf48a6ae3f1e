//! The nonlinearity of a residual network.

use foil::prelude::*;

/// What follows a batch norm.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x · sigmoid(x), also called swish.
    Silu,
}

impl Activation {
    pub(crate) fn of(self, xs: Tensor) -> Tensor {
        match self {
            Self::Relu => nn::relu(xs),
            Self::Silu => xs.silu(),
        }
    }

    /// Whether it is the networks' usual one.
    pub(crate) fn is_relu(&self) -> bool {
        *self == Self::Relu
    }
}
