//! A constant number.

use foil::prelude::*;

/// The same number throughout; a plain number in the pipeline means the same.
#[settings]
pub struct Constant {
    /// The number.
    pub value: f64,
}

impl Scheduler for Constant {
    fn value(&self, _: &Progress) -> f64 {
        self.value
    }
}

register!(dyn Scheduler, "constant", Constant, "{ value: 0.1 }");
