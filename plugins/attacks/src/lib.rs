//! What methods share: attacks and the objectives they ascend.

mod fgsm;
mod none;
mod objectives;
mod pgd;

pub use objectives::{Ce, Cw, Kl, LeastLikely, Slm};
pub use pgd::{Norm, Pgd, Start};
