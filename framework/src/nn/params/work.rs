//! Counting what forward passes ask of a device.

/// What convolutions and linear layers ask of a device.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// Floating-point operations: a multiplication with its addition is two.
    pub operations: f64,
    /// Bytes of inputs, weights and outputs, each moved once.
    pub bytes: f64,
}

impl Work {
    /// This work and `times` as much as `other`.
    #[must_use]
    pub fn plus(self, other: Self, times: f64) -> Self {
        Self { operations: self.operations + other.operations * times, bytes: self.bytes + other.bytes * times }
    }

    /// What was done since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.plus(earlier, -1.0)
    }
}
