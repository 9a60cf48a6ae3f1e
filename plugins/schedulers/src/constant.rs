//! A number that stays as it is.

use foil::prelude::*;

/// The same number throughout; writing the number alone means this too.
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
