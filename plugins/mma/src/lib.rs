//! MMA: each image is attacked exactly as far as its own margin.
//!
//! Ding et al., "MMA Training: Direct Input Space Margin Maximization through Adversarial
//! Training", ICLR 2020, arXiv:1812.02637; Table 9 of the CAT paper, third row. Where the paper
//! says nothing, it follows the authors' code.

mod an_pgd;
mod correct_only;
mod loss;

pub use an_pgd::AnPgd;
pub use correct_only::CorrectOnly;
pub use loss::Mma;
