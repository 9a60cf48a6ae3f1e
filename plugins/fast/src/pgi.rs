//! FGSM-PGI: FGSM from where the last epoch's attack ended.
//!
//! Jia et al., "Prior-Guided Adversarial Initialization for Fast Adversarial Training", ECCV 2022,
//! arXiv:2207.08859; the variant with momentum over epochs (MEP), which is the one with public
//! code.

mod attack;
mod loss;

pub use attack::PgiAttack;
pub use loss::Pgi;

/// What the attack calls the images that it starts from.
const START: &str = "start";

/// Smoothing as `terms::smoothed_cross_entropy` takes it, which gives the label a part too, so that
/// the other classes have `others` together.
fn smoothing(others: f64, classes: i64) -> f64 {
    let classes = classes as f64;
    others * classes / (classes - 1.0)
}

#[cfg(test)]
mod tests;
