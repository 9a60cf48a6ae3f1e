//! The CAT paper's theory where it can be seen: points in the unit square, and an oracle that knows the class everywhere.
//!
//! A point is a 1x1x2 image, so foil's own attack, loss, optimiser and step train on it. Training by Eq. 7 asks for the
//! class of x in all of its ball; by Eq. 17 for the class that the oracle gives each point of the ball. Because there are
//! but two dimensions, a ball is searched on a fine grid, and errors are measured, not attacked for.
//! What is taken for the two theorems stands at [`Errors`].

mod draw;
mod measure;
mod oracle;
mod problem;
mod train;

pub use draw::figure;
pub use measure::{Errors, errors, of_oracle};
pub use problem::Problem;
pub use train::{Objective, Trained, train};
