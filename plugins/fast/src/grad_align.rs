//! GradAlign: FGSM on a network whose gradient is made to point the same way within the ball.
//!
//! Andriushchenko & Flammarion, "Understanding and Improving Fast Adversarial Training", NeurIPS
//! 2020, arXiv:2007.02617.

mod attack;
mod loss;

pub use attack::GradAlignAttack;
pub use loss::GradAlign;

/// What the attack calls the images beside the clean ones, and the gradient at the clean ones.
const BESIDE: &str = "beside";
const GRADIENT: &str = "grad_align.gradient";

#[cfg(test)]
mod tests;
