//! The CAT paper's theory where it can be seen: points in the unit square, and an oracle that knows
//! the class everywhere.
//!
//! Huang, Menkovski, Pei, Pechenizkiy, "Calibrated Adversarial Training", ACML 2021, sections 3.5
//! and 4, appendices A, F and G; equation numbers are the paper's. A point is a 1x1x2 image, so
//! foil's own attack, loss, optimiser and step train on it. Networks are trained by Eq. 1, Eq. 17
//! and Eq. 7 ([`Objective`]); both sides of both theorems are measured ([`Sides`]) by looking at a
//! fine grid of each ball, not by attacking; and Figures 1, 7, 8 and 9 are drawn.

mod ball;
mod constrained;
mod drawing;
mod measure;
mod objective;
mod oracle;
mod phi;
mod problem;
mod tables;
mod train;

pub use drawing::{Networks, figure_1, figure_7, figure_8, figure_9, of_problem};
pub use measure::{Sides, of_network, of_oracle, of_patchwork};
pub use objective::Objective;
pub use oracle::Oracle;
pub use phi::{phi, psi, psi_inverse};
pub use problem::Problem;
pub use tables::{Row, tables};
pub use train::{Task, Trained, train};
