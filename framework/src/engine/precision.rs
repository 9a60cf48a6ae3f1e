//! The precision in which a network computes.
//!
//! Parameters, their updates, batch norm, losses and checkpoints are fp32 whatever is chosen here;
//! images and gradients with respect to them too.

use super::Network;
use foil_macros::settings;

/// Precision of training: of the network's forward and backward passes, in attack and update
/// alike.
#[settings]
#[derive(Copy, PartialEq)]
pub enum Precision {
    /// 32 bits.
    Fp32,
    /// 32 bits, but CUDA may round the factors of products to TF32's 10 bits, as PyTorch does in
    /// convolutions. On a CPU it is fp32.
    Tf32,
    /// Convolutions and linear layers in bfloat16 on a copy of the weights, with everything between
    /// them; batch norm's statistics, losses, master weights and the optimiser in fp32.
    Bf16,
}

/// Precision of evaluations; never bf16.
#[settings]
#[derive(Copy, PartialEq)]
pub enum EvalPrecision {
    /// 32 bits.
    Fp32,
    /// As in training.
    Tf32,
}

impl EvalPrecision {
    /// As in configs and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
        }
    }
}

/// While it lives, the network computes in the precision of evaluation, or of training; see
/// [`Network::evaluating`].
#[derive(Debug)]
pub struct Computing<'a> {
    network: &'a Network,
    before: bool,
}

impl<'a> Computing<'a> {
    pub(super) fn set(network: &'a Network, evaluating: bool) -> Self {
        Self { network, before: network.set_evaluating(evaluating) }
    }
}

impl Drop for Computing<'_> {
    fn drop(&mut self) {
        self.network.set_evaluating(self.before);
    }
}
