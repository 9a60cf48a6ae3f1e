//! Adversarial training that costs little more than training: single-step attacks that do not
//! collapse, because what FGSM lacks is remembered from the last epoch (FGSM-PGI) or the loss is
//! made linear (GradAlign), and an attack with the gradient of the training itself (Free).

mod free;
mod grad_align;
mod pgi;

pub use free::Free;
pub use grad_align::{GradAlign, GradAlignAttack};
pub use pgi::{Pgi, PgiAttack};
