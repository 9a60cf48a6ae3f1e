//! NCCL between the ranks' GPUs: that of libtorch's CUDA half, by way of `libfoil_cuda.so`.

use super::collective::{OnDevice, Opener};
use crate::cuda::Comm;
use crate::{Error, Result};
use std::time::Duration;
use tch::{Device, Tensor};

/// The environment variable that disables NCCL if it is `off`: gradients are then summed on the
/// CPU.
const SWITCH: &str = "FOIL_NCCL";

/// Opens NCCL where ranks compute on GPUs.
pub(super) struct Nccl;

impl Opener for Nccl {
    fn takes(&self, device: Device) -> bool {
        matches!(device, Device::Cuda(_))
    }

    fn obstacle(&self, _: Device) -> Option<String> {
        match std::env::var(SWITCH).as_deref() {
            Ok("off") => Some(format!("{SWITCH} is `off`")),
            _ => Comm::version().err().map(|error| error.message().to_string()),
        }
    }

    fn invitation(&self) -> Result<[u8; 128]> {
        Comm::id()
    }

    fn open(&self, invitation: [u8; 128], rank: usize, size: usize, device: Device) -> Result<Box<dyn OnDevice>> {
        let Device::Cuda(number) = device else {
            return Err(Error::new(format!("NCCL was asked for tensors on {device:?}")));
        };
        let comm = Comm::open(&invitation, rank, size, number).map_err(|error| {
            error.context("NCCL").help(format!("set NCCL_DEBUG=INFO for details, or {SWITCH}=off to run without NCCL"))
        })?;
        Ok(Box::new(Connected { comm, version: Comm::version()? }))
    }
}

/// This rank's communicator, and its name.
struct Connected {
    comm: Comm,
    version: String,
}

impl OnDevice for Connected {
    fn name(&self) -> String {
        format!("NCCL {}", self.version)
    }

    fn sum(&self, tensor: &Tensor) -> Result<()> {
        self.comm.sum(tensor)
    }

    fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        self.comm.broadcast(tensor)
    }

    fn mark(&self) -> Result<()> {
        self.comm.mark()
    }

    fn waits(&self) -> Result<Duration> {
        self.comm.waits()
    }

    fn abort(&self) {
        self.comm.abort();
    }
}
