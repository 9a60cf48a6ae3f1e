//! What methods share: attacks and the objectives they ascend.

mod apgd;
mod as_trained;
mod autoattack;
mod ball;
mod chain;
mod fab;
mod fgsm;
mod live;
mod none;
mod objectives;
mod pgd;
mod single_step;
mod square;

pub use apgd::{Apgd, ApgdT};
pub use as_trained::AsTrained;
pub use autoattack::AutoAttack;
pub use chain::WorstOf;
pub use fab::FabT;
pub use objectives::{Ce, Cw, Dlr, Kl, LeastLikely, Slm};
pub use pgd::{Pgd, Start};
pub use single_step::{FgsmRs, NFgsm};
pub use square::Square;
