//! A device's measured ceilings: the rate of a large matrix product, and of a large copy.

use crate::Result;
use std::time::Instant;
use tch::{Cuda, Device, Kind, Tensor};

/// Measured ceilings of a device.
#[derive(Debug, Clone, Copy)]
pub struct Ceiling {
    /// Floating-point operations per second in fp32, with TF32 if it is allowed now.
    pub fp32: f64,
    /// The same in bf16.
    pub bf16: f64,
    /// Bytes per second, read and written.
    pub memory: f64,
}

/// Waits for a device.
pub fn wait(device: Device) {
    if let Device::Cuda(n) = device {
        Cuda::synchronize(n as i64);
    }
}

/// Seconds of the fastest of some runs, after a warm-up run.
fn fastest(device: Device, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for run in 0..6 {
        wait(device);
        let start = Instant::now();
        work();
        wait(device);
        if run > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    best
}

impl Ceiling {
    /// Measures them: under a second on a GPU and on a core.
    ///
    /// # Errors
    /// When the device does not have enough memory.
    pub fn of(device: Device) -> Result<Self> {
        crate::guard(|| {
            let (side, megabytes) = if device.is_cuda() { (8192, 1024) } else { (1024, 64) };
            let rate = |kind| {
                // Not zeros, on which some devices are faster.
                let a = Tensor::randn([side, side], (Kind::Float, device)).to_kind(kind);
                let out = a.zeros_like();
                2.0 * (side as f64).powi(3) / fastest(device, || drop(a.matmul_out(&out, &a)))
            };
            let from = Tensor::rand([megabytes << 18], (Kind::Float, device));
            let mut to = from.zeros_like();
            let bytes = 2.0 * (megabytes << 20) as f64;
            let memory = bytes / fastest(device, || to.copy_(&from));
            Ok(Self { fp32: rate(Kind::Float), bf16: rate(Kind::BFloat16), memory })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_computes_more_than_it_moves() {
        let ceiling = Ceiling::of(Device::Cpu).unwrap();
        // The slowest machine that could run this does 10 million operations a second.
        assert!(ceiling.fp32 > 1e7 && ceiling.bf16 > 1e7 && ceiling.memory > 1e7, "{ceiling:?}");
        assert!(ceiling.fp32 > ceiling.memory, "{ceiling:?}");
    }
}
