//! Adversarial training with single-step attacks that does not collapse: what FGSM lacks is
//! remembered from the last epoch (FGSM-PGI), or made linear by the loss (GradAlign).

mod grad_align;
mod pgi;

pub use grad_align::{GradAlign, GradAlignAttack};
pub use pgi::{Pgi, PgiAttack};
