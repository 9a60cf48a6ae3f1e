//! Plugins that panic where they are told to, plugins that are wrong in other ways, and one that
//! logs.

use foil::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

mod attack;
mod parts;
mod wrong;

/// Panics if this is the place.
fn here(place: &str, told: &str) {
    assert!(place != told, "told to panic in {place}");
}

/// Cross-entropy that panics in a place, or in a call of `forward` by its number.
#[settings]
pub struct PanickingLoss {
    /// `build`, `passes`, `needs`, `least_classes`, `forward` or `torch`.
    #[set(default = "")]
    pub at: String,
    /// The call of `forward` that panics, from 0.
    #[set(default = 0)]
    pub call: u64,
}

struct CountingLoss(PanickingLoss, AtomicU64);

impl Config<dyn Loss> for PanickingLoss {
    fn build(&self, _: &Build) -> Result<Box<dyn Loss>> {
        here("build", &self.at);
        Ok(Box::new(CountingLoss(self.clone(), AtomicU64::new(0))))
    }
}

impl Loss for CountingLoss {
    fn passes(&self) -> Vec<Forward> {
        here("passes", &self.0.at);
        vec![Forward::Adversarial]
    }
    fn needs(&self) -> Vec<&'static str> {
        here("needs", &self.0.at);
        Vec::new()
    }
    fn least_classes(&self) -> i64 {
        here("least_classes", &self.0.at);
        2
    }
    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        if self.1.fetch_add(1, Ordering::Relaxed) == self.0.call {
            here("forward", &self.0.at);
            if self.0.at == "torch" {
                drop(input.adversarial()? + Tensor::from_slice(&[1.0; 7]));
            }
        }
        Ok(LossOutput::new(terms::cross_entropy(input.adversarial()?, input.y()).mean(None::<Kind>)))
    }
}

register!(dyn Loss, "panicking_loss", PanickingLoss, "{}");

/// Cross-entropy that logs.
#[settings]
pub struct LoggingLoss {}

impl Loss for LoggingLoss {
    fn passes(&self) -> Vec<Forward> {
        vec![Forward::Adversarial]
    }
    fn forward(&self, input: &LossInput) -> Result<LossOutput> {
        let _span = tracing::info_span!("formula", part = "cross-entropy").entered();
        let images = input.y().size()[0];
        tracing::info!(images, "A loss speaks.");
        tracing::debug!("Nobody asked for this.");
        Ok(LossOutput::new(terms::cross_entropy(input.adversarial()?, input.y()).mean(None::<Kind>)))
    }
}

register!(dyn Loss, "logging_loss", LoggingLoss, "{}");

foil::export_plugin!();
