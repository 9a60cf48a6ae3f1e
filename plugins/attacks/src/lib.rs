//! What methods share: attacks and the objectives they ascend.

mod apgd;
mod as_trained;
mod autoattack;
mod ball;
mod chain;
mod fab;
mod fgsm;
mod l1;
mod live;
mod msd;
mod none;
mod objectives;
mod pgd;
mod pgd_l1;
mod single_step;
mod square;
mod union;

pub use apgd::{Apgd, ApgdT, Begin, Found};
pub use as_trained::AsTrained;
pub use autoattack::AutoAttack;
pub use chain::WorstOf;
pub use fab::FabT;
pub use msd::Msd;
pub use objectives::{Ce, Cw, Dlr, Kl, LeastLikely, Slm};
pub use pgd::{Pgd, Start};
pub use pgd_l1::PgdL1;
pub use single_step::{FgsmRs, NFgsm};
pub use square::Square;
pub use union::{EachOf, MaxOf, MeanOfEach, OneOf};
