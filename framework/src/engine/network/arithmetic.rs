//! In which precision a network computes: that of training, or that of evaluation.

use super::Network;
use crate::engine::precision::{Computing, EvalPrecision, Precision};

impl Network {
    /// Switches to the precision of evaluation until the guard is dropped.
    #[must_use]
    pub fn evaluating(&self) -> Computing<'_> {
        Computing::set(self, true)
    }

    /// Switches to the precision of training until the guard is dropped.
    #[must_use]
    pub fn as_trained(&self) -> Computing<'_> {
        Computing::set(self, false)
    }

    /// Switches evaluation arithmetic on or off; returns the previous value.
    pub(in crate::engine) fn set_evaluating(&self, evaluating: bool) -> bool {
        let before = self.evaluating.replace(evaluating);
        self.set_arithmetic();
        before
    }

    /// Makes the process compute as this network does: TF32 on CUDA, subnormal numbers on the CPU.
    pub(super) fn set_arithmetic(&self) {
        let exact = if self.evaluating.get() {
            self.eval_precision == EvalPrecision::Fp32
        } else {
            self.precision == Precision::Fp32
        };
        // libtorch refuses neither in practice.
        let _ = crate::shim::allow_tf32(!exact);
        let _ = crate::shim::flush_denormal(self.flush_denormal);
    }

    /// Whether this pass is in bf16.
    pub(super) fn is_bf16(&self) -> bool {
        self.precision == Precision::Bf16 && !self.evaluating.get()
    }
}
