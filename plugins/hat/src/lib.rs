//! HAT: helper-based adversarial training.
//!
//! Rade & Moosavi-Dezfooli, "Reducing Excessive Margin to Achieve a Better Accuracy vs. Robustness
//! Trade-off", ICLR 2022. Images beyond the attacked ones get the label that a naturally trained
//! helper gives the attacked ones, so that the margin does not grow more than robustness needs.

mod beyond;
mod loss;

pub use beyond::Beyond;
pub use loss::Hat;

/// What the attack calls its further images.
const BEYOND: &str = "beyond";
